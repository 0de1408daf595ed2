"""Stage `attack`: read an observation and priors, never the truth; write reconstructions and a trace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pandas as pd
import torch

from gradsiege import artifacts
from gradsiege.attacks import counters, recipes, several_rounds
from gradsiege.attacks.counters.plan import AttackPlan, kept_channels
from gradsiege.attacks.device import AUTO, describe, where_to_run
from gradsiege.attacks.engine.autotune import MEASURED, EnginePolicy
from gradsiege.attacks.knowledge import Knowledge, TrainedPrior
from gradsiege.attacks.reconstruct import reconstruct
from gradsiege.errors import MissingError
from gradsiege.pipeline.cells import priors_of
from gradsiege.pipeline.engine_memory import EngineMemory
from gradsiege.pipeline.jobs import Job
from gradsiege.pipeline.loop_progress import LoopCheckpointer
from gradsiege.priors.resumable import Checkpointer
from gradsiege.priors.trained import load_prior
from gradsiege.protocol.observation import load_observation
from gradsiege.protocol.reconstruction import Reconstruction, save_reconstruction
from gradsiege.protocol.simulation import Simulator
from gradsiege.protocol.threat_model import ThreatModel, require, strip
from gradsiege.study import Attack


def attack(
    job: Job,
    observation: Path | None = None,
    engine: str = MEASURED,
    device: str = AUTO,
    simulator: Simulator | None = None,
) -> None:
    """Write ``reconstructions.safetensors`` and ``trace.parquet``.

    Args:
        job: the cell at work.
        observation: a file to attack instead of the study's own.
        engine: ``measured``, or the name of an engine.
        device: ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``.
        simulator: makes clients of the attacker's own, for attacks that learn from them.
    """
    cell, study = job.cell, job.study
    entry = study.one("attacks", cell.attack)
    threat = ThreatModel(**study.one("threat_models", cell.threat_model).grants)
    require(threat, entry.requires, entry.id)
    place = where_to_run(device, engine)
    path = observation or job.input(cell.at("observe"), "observation.safetensors")
    seen = strip(load_observation(path), threat).to(place)
    priors = [
        TrainedPrior(*load_prior(job.input(other, "prior.safetensors")))
        for other in priors_of(cell, study)
    ]
    knowledge = Knowledge(seen, threat, tuple(priors))
    job.notes = {
        "threat_model": threat.describe(),
        "counter": entry.counter,
        "iterations": entry.iterations,
        "restarts": entry.restarts,
        "device": describe(knowledge.device),
    }
    learner = recipes.learner(entry.name)
    if learner:
        found = _learned(job, learner, knowledge, simulator)
    else:
        found = _matched(job, knowledge, engine)
    failures = dict(seen.failures)
    for victim in torch.isfinite(found.matching_loss).logical_not().nonzero().flatten().tolist():
        failures.setdefault(victim, "the matching loss was never finite")
    if failures:
        job.fail(
            f"{len(failures)} of {seen.victims} victims: "
            + "; ".join(sorted(set(failures.values())))
        )
    found = replace(found, failures=failures)
    save_reconstruction(job.path("reconstructions.safetensors"), found)
    artifacts.write_table(job.path("trace.parquet"), _trace(found))


def _seed(job: Job) -> tuple[object, ...]:
    """Return the names that an attack draws from; attacks that start in one space start alike.

    They depend on the victim and the seed alone, and are none that a client draws from.
    """
    return (job.study.seed, job.cell.at("observe").key, "attack")


def _matched(job: Job, knowledge: Knowledge, engine: str) -> Reconstruction:
    """Run a recipe that matches updates."""
    entry, seen = job.study.one("attacks", job.cell.attack), knowledge.observation
    rounds = several_rounds.seen_by(seen, entry.rounds)
    plans = [_plan(replace(knowledge, observation=one), entry) for one in rounds]
    plan, *later = plans
    if later:
        plan = plan.with_labels(several_rounds.agreed_labels(plans))
    checkpointer = LoopCheckpointer(job)
    memory = EngineMemory(job.root / "scratch" / "engines")
    policy = EnginePolicy(engine, memory.recall, memory.remember)
    found = reconstruct(
        plan.knowledge,
        plan.recipe,
        entry.restarts,
        _seed(job),
        checkpointer.resume,
        checkpointer.pause,
        policy,
        [(one.knowledge, one.recipe) for one in later],
    )
    evaluations = sum(stage.evaluations for stage in plan.recipe.phases)
    job.notes |= {
        "evaluations": evaluations * entry.restarts * len(plans),
        "engines": found.engines,
    }
    if entry.rounds != "first":
        job.notes["rounds"] = f"{entry.rounds} of {1 + len(seen.later)}"
    kept = kept_channels(rounds[0].update, plan.update)
    kept = {name: flags.cpu() for name, flags in kept.items()}
    return replace(found, images=plan.finish(found.images), kept=kept)


def _learned(
    job: Job, learner: ModuleType, knowledge: Knowledge, simulator: Simulator | None
) -> Reconstruction:
    """Run an attack that learns from simulated clients; these and its training steps are what it evaluates."""
    cell, federation = job.cell, job.study.federation
    entry = job.study.one("attacks", cell.attack)
    if simulator is None:
        raise MissingError(
            f"{entry.id} learns from simulated clients, and none were handed to it: run it by `gradsiege attack`"
        )
    own = knowledge.trained("shadow_generator")
    simulate = simulator(
        knowledge.observation,
        federation.round_of(cell.training_stage),
        federation.rounds,
        own.weights if own else None,
    )
    parameters = learner.Parameters(**entry.parameters)
    budget = (parameters, entry.iterations)
    found: Reconstruction = learner.learn(
        *budget, knowledge, simulate, _seed(job), entry.label_rule, Checkpointer(job)
    )
    job.notes |= {"evaluations": parameters.updates + entry.iterations, "device": "cpu"}
    return found


def _plan(knowledge: Knowledge, entry: Attack) -> AttackPlan:
    """Build the recipe against one update of each victim, and let the counter change it."""
    recipe = recipes.build(entry.name, entry.parameters, entry.arm, entry.iterations, knowledge)
    recipe = recipe.with_phases(
        update_model=entry.update_model, evaluated_at=entry.evaluated_at, patience=entry.patience
    )
    averaged = knowledge.threat.rounds if entry.rounds == "average" else 1
    plan = AttackPlan(knowledge, replace(recipe, label_rule=entry.label_rule), averaged=averaged)
    return counters.apply(entry.counter, plan) if entry.counter else plan


def _trace(found: Reconstruction) -> pd.DataFrame:
    rows = [
        {"iteration": iteration, "victim": victim, "restart": restart, "matching_loss": float(loss)}
        for iteration, losses in found.trace
        for victim, row in enumerate(losses)
        for restart, loss in enumerate(row)
    ]
    return pd.DataFrame(rows)
