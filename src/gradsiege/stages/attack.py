"""Stage `attack`: read an observation and priors, never the truth; write reconstructions and a trace."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from gradsiege import artifacts
from gradsiege.attacks import recipes
from gradsiege.attacks.base import Attack
from gradsiege.attacks.device import AUTO, describe, where_to_run
from gradsiege.attacks.engine.autotune import MEASURED, EnginePolicy
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.lookup.base import Lookup
from gradsiege.attacks.matching import match, with_failures
from gradsiege.attacks.progress import LoopCheckpointer
from gradsiege.attacks.recipes.learned_inversion import LearnedInversion
from gradsiege.attacks.result import trace_rows
from gradsiege.errors import MissingError
from gradsiege.pipeline import workload
from gradsiege.pipeline.cells import priors_of
from gradsiege.pipeline.engine_memory import EngineMemory
from gradsiege.pipeline.jobs import Job
from gradsiege.priors.base import TrainedPrior
from gradsiege.priors.resumable import Checkpointer
from gradsiege.priors.trained import load_prior
from gradsiege.programs import Programs
from gradsiege.protocol.observation import load_observation
from gradsiege.protocol.reconstruction import Reconstruction, save_reconstruction
from gradsiege.protocol.simulation import Simulate, Simulator
from gradsiege.protocol.threat_model import ThreatModel, require, strip


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
    simulate = _simulated(job, knowledge, simulator) if chosen.simulates else None
    if isinstance(chosen, LearnedInversion):
        assert simulate is not None
        reconstruction = chosen.learn(knowledge, simulate, _seed(job), Checkpointer(job))
        job.notes |= {"evaluations": chosen.updates + chosen.turns, "device": "cpu"}
    elif isinstance(chosen, Lookup):
        job.notes["evaluations"] = chosen.evaluations(knowledge)
        reconstruction = chosen.look_up(knowledge, Checkpointer(job), simulate, _seed(job))
    else:
        reconstruction = _matched(job, chosen, knowledge, engine, simulate)
    reconstruction = with_failures(reconstruction, seen)
    if reconstruction.failures:
        reasons = "; ".join(sorted(set(reconstruction.failures.values())))
        job.fail(f"{len(reconstruction.failures)} of {seen.victims} victims: {reasons}")
    save_reconstruction(job.path("reconstructions.safetensors"), reconstruction)
    artifacts.write_table(job.path("trace.parquet"), pd.DataFrame(trace_rows(reconstruction)))


def _seed(job: Job) -> tuple[object, ...]:
    """Return the names that seed an attack's randomness, the same for all attacks; those of the clients differ."""
    return (job.study.seed, job.cell.at("observe").key, "attack")


def _matched(
    job: Job, attack: Attack, knowledge: Knowledge, engine: str, simulate: Simulate | None
) -> Reconstruction:
    """Run an attack that matches updates."""
    loop = LoopCheckpointer(job)
    memory = EngineMemory(job.root / "results" / job.study.study / "engines")
    policy = EnginePolicy(
        engine,
        memory.recall,
        memory.remember,
        runs=workload.attacks_alike(job.cell, job.study),
        programs=Programs(job.root / "scratch" / "programs"),
    )
    matched = match(attack, knowledge, _seed(job), policy, loop.resume, loop.pause, simulate)
    job.notes |= {"evaluations": matched.evaluations, "engines": matched.found.engines}
    if attack.rounds != "first":
        job.notes["rounds"] = f"{attack.rounds} of {1 + len(knowledge.observation.later)}"
    return matched.found


def _simulated(job: Job, knowledge: Knowledge, simulator: Simulator | None) -> Simulate:
    """Return the clients that the attacker simulates at the observed model, in the round of its training stage."""
    if simulator is None:
        raise MissingError(
            f"{job.cell.attack} learns from simulated clients, and none were handed to it: run it by `gradsiege attack`"
        )
    federation, shadow = job.study.federation, knowledge.trained("shadow_generator")
    at_round = federation.round_of(job.cell.training_stage)
    weights = shadow.weights if shadow else None
    return simulator(knowledge.observation, at_round, federation.rounds, weights)
