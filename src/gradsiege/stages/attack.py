"""Stage `attack`: read an observation and priors, never the truth; write reconstructions and a trace."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from gradsiege import artifacts
from gradsiege.allocator import freed_memory_kept
from gradsiege.attacks import recipes
from gradsiege.attacks.base import Attack
from gradsiege.attacks.conditions import Conditions
from gradsiege.attacks.device import AUTO, describe, where_to_run
from gradsiege.attacks.engine.autotune import MEASURED
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.matching import with_failures
from gradsiege.attacks.result import trace_rows
from gradsiege.errors import MissingError
from gradsiege.pipeline.cells import priors_of
from gradsiege.pipeline.chosen_settings import chosen_settings
from gradsiege.pipeline.engine_memory import policy_of
from gradsiege.pipeline.jobs import Job
from gradsiege.priors.base import TrainedPrior
from gradsiege.priors.trained import load_prior
from gradsiege.protocol.observation import load_observation
from gradsiege.protocol.reconstruction import save_reconstruction
from gradsiege.protocol.simulation import Simulate, Simulator
from gradsiege.protocol.threat_model import ThreatModel, require, strip
from gradsiege.study.tuning import is_tuned


@freed_memory_kept()
def attack(
    job: Job,
    observation: Path | None = None,
    engine: str = MEASURED,
    device: str = AUTO,
    simulator: Simulator | None = None,
) -> None:
    """Write ``reconstructions.safetensors`` and ``trace.parquet``.

    Args:
        job: the job of the cell.
        observation: a file to attack instead of the study's own.
        engine: ``measured``, or the name of an engine.
        device: ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``.
        simulator: creates simulated clients, for attacks and counters that learn from them.
    """
    cell, study = job.cell, job.study
    entry = study.one("attacks", cell.attack)
    threat = ThreatModel(**study.one("threat_models", cell.threat_model).grants)
    require(threat, entry.requires, entry.id)
    place = where_to_run(device, engine)
    path = observation or job.input(cell.at("observe"), "observation.safetensors")
    seen = strip(load_observation(path), threat).to(place)
    paths = [job.input(other, "prior.safetensors") for other in priors_of(cell, study)]
    knowledge = Knowledge(seen, threat, tuple(TrainedPrior(*load_prior(path)) for path in paths))
    job.notes = {"threat_model": threat.describe(), "device": describe(knowledge.device)}
    job.notes |= {key: getattr(entry, key) for key in ("counter", "iterations", "restarts")}
    chosen = recipes.attack(entry.name, entry.parameters, entry.arm, **entry.budget)
    if is_tuned(study, cell.attack, cell.threat_model):
        chosen = chosen_settings(job, chosen, knowledge, _given(simulator, job)).attack
    completed = chosen.run(knowledge, _conditions(job, knowledge, chosen, engine, simulator))
    job.notes |= {"evaluations": completed.evaluations, **completed.notes}
    reconstruction = with_failures(completed.reconstruction, seen)
    if reconstruction.failures:
        reasons = "; ".join(sorted(set(reconstruction.failures.values())))
        job.fail(f"{len(reconstruction.failures)} of {seen.victims} victims: {reasons}")
    save_reconstruction(job.path("reconstructions.safetensors"), reconstruction)
    artifacts.write_table(job.path("trace.parquet"), pd.DataFrame(trace_rows(reconstruction)))


def _conditions(
    job: Job, knowledge: Knowledge, attack: Attack, engine: str, simulator: Simulator | None
) -> Conditions:
    """Return the conditions of a job; all attacks on an observation have one seed."""
    seed = (job.study.seed, job.cell.at("observe").key, "attack")
    simulate = _simulated(job, knowledge, simulator) if attack.simulates else None
    return Conditions(seed, policy_of(job, engine), job, simulate)


def _given(simulator: Simulator | None, job: Job) -> Simulator:
    if simulator is None:
        raise MissingError(
            f"{job.cell.attack} learns from simulated clients, and none were handed to it: run it by `gradsiege attack`"
        )
    return simulator


def _simulated(job: Job, knowledge: Knowledge, simulator: Simulator | None) -> Simulate:
    """Return the clients that the attacker simulates at the observed model, in the round of its training stage."""
    simulator = _given(simulator, job)
    federation, shadow = job.study.federation, knowledge.trained("shadow_generator")
    at_round = federation.round_of(job.cell.training_stage)
    weights = shadow.weights if shadow else None
    return simulator(knowledge.observation, at_round, federation.rounds, weights)
