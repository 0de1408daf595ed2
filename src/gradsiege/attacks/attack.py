"""Stage `attack`: read an observation and priors, never the truth; write reconstructions and a trace."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType

import pandas as pd
import torch

from gradsiege import artifacts
from gradsiege.attacks import counters, recipes, several_rounds
from gradsiege.attacks.counters.attempt import Attempt, kept_channels
from gradsiege.attacks.engine.choice import MEASURED, Choice, Policy
from gradsiege.attacks.engine.engines import ENGINES
from gradsiege.attacks.engine.loop import State
from gradsiege.attacks.engine.recipe import Knowledge, TrainedPrior
from gradsiege.attacks.engine.variables import Variables
from gradsiege.attacks.reconstruct import reconstruct
from gradsiege.cells import priors_of
from gradsiege.errors import MissingError, UsageError
from gradsiege.jobs import Job
from gradsiege.priors.prior import load_prior
from gradsiege.priors.resumable import Saving
from gradsiege.protocol.observation import group, load_observation
from gradsiege.protocol.reconstruction import Reconstruction, save_reconstruction
from gradsiege.protocol.simulation import Simulator
from gradsiege.protocol.threat_model import ThreatModel, require, strip
from gradsiege.study import Attack

SECONDS_BETWEEN_SAVES = 30.0
AUTO = "auto"  # the device: a GPU if there is one


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
    knowledge = Knowledge(seen, threat, next(iter(priors), None), tuple(priors[1:]))
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
    attempts = [_attempt(replace(knowledge, observation=one), entry) for one in rounds]
    attempt, *later = attempts
    if later:
        attempt = attempt.with_labels(several_rounds.agreed_labels(attempts))
    saver = Saver(job)
    memory = EngineMemory(job.root / "scratch" / "engines")
    policy = Policy(engine, memory.recall, memory.remember)
    found = reconstruct(
        attempt.knowledge,
        attempt.recipe,
        entry.restarts,
        _seed(job),
        saver.resume,
        saver.pause,
        policy,
        [(one.knowledge, one.recipe) for one in later],
    )
    evaluations = sum(stage.evaluations for stage in attempt.recipe.stages)
    job.notes |= {
        "evaluations": evaluations * entry.restarts * len(attempts),
        "engines": found.engines,
    }
    if entry.rounds != "first":
        job.notes["rounds"] = f"{entry.rounds} of {1 + len(seen.later)}"
    kept = kept_channels(rounds[0].update, attempt.update)
    kept = {name: flags.cpu() for name, flags in kept.items()}
    return replace(found, images=attempt.finish(found.images), kept=kept)


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
        *budget, knowledge, simulate, _seed(job), entry.label_rule, Saving(job)
    )
    job.notes |= {"evaluations": parameters.updates + entry.iterations, "device": "cpu"}
    return found


def _attempt(knowledge: Knowledge, entry: Attack) -> Attempt:
    """Build the recipe against one update of each victim, and let the counter change it."""
    recipe = recipes.build(entry.name, entry.parameters, entry.arm, entry.iterations, knowledge)
    recipe = recipe.but(
        update_model=entry.update_model, evaluated_at=entry.evaluated_at, patience=entry.patience
    )
    averaged = knowledge.threat.rounds if entry.rounds == "average" else 1
    attempt = Attempt(knowledge, replace(recipe, label_rule=entry.label_rule), averaged=averaged)
    return counters.apply(entry.counter, attempt) if entry.counter else attempt


def where_to_run(device: str, engine: str = MEASURED) -> torch.device:
    """Return the device of an attack, when it is there and the engine runs on it.

    Raises:
        UsageError: the device or the engine is unknown, or there is no such GPU.
    """
    Policy(engine)
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    there = ["cpu", *(["cuda"] if gpus else []), *gpus]
    if device != AUTO and device not in there:
        choices = ", ".join([AUTO, *there])
        none = "" if gpus else ", for PyTorch sees no GPU"
        raise UsageError(f"device {device!r} is not there; choose one of {choices}{none}")
    found = torch.device(("cuda" if gpus else "cpu") if device == AUTO else device)
    if engine.startswith("cuda") and found.type != "cuda":
        others = ", ".join([MEASURED, *(name for name in ENGINES if not name.startswith("cuda"))])
        raise UsageError(
            f"engine {engine!r} runs on a GPU alone, and the device is {found.type}; choose one of {others}"
        )
    return found


def describe(device: torch.device) -> str:
    """Return the name of a device, for the record."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@dataclass(frozen=True)
class EngineMemory:
    """Engines that were chosen before on this machine, one small file each; deleting the folder measures anew."""

    folder: Path

    def recall(self, name: str) -> Choice | None:
        """Return the choice of that name, if there is one that can be read; otherwise engines are measured anew."""
        path = self.folder / f"{name}.json"
        try:
            found = Choice(**json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        sound = found.engine in ENGINES and isinstance(found.chunk, int) and found.chunk > 0
        return found if sound else None

    def remember(self, name: str, choice: Choice) -> None:
        """Keep a choice."""
        artifacts.write_json(self.folder / f"{name}.json", asdict(choice))


class Saver:
    """Saves the loop's state every half minute and when asked to leave; gives it back on the next start."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.last = time.monotonic()

    def pause(self, state: State) -> None:
        """Save if it is time to; leave if a signal or the time budget says so."""
        stop = self.job.should_stop()
        if not stop and time.monotonic() - self.last < SECONDS_BETWEEN_SAVES:
            return
        tensors = {"best_loss": state.best_loss, "best_iteration": state.best_iteration}
        for prefix, part in _groups(state).items():
            tensors |= {f"{prefix}.{name}": value.clone() for name, value in part.items()}
        for place, (_, losses) in enumerate(state.trace):
            tensors[f"trace.{place}"] = losses
        tensors = {name: value.cpu() for name, value in tensors.items()}
        header = {
            "iteration": state.iteration,
            "stage": state.stage,
            "engine": state.engine,
            "chunk": state.chunk,
            "trace": [iteration for iteration, _ in state.trace],
        }
        self.job.save_progress(tensors, header)
        self.last = time.monotonic()
        if stop:
            self.job.interrupt()

    def resume(self) -> State | None:
        """Return the saved state of this cell, if there is one."""
        saved = self.job.load_progress()
        if saved is None:
            return None
        tensors, header = saved
        return State(
            x=group(tensors, "x."),
            best=group(tensors, "best."),
            best_loss=tensors["best_loss"],
            best_iteration=tensors["best_iteration"],
            memory=group(tensors, "memory."),
            iteration=header["iteration"],
            stage=header["stage"],
            engine=header["engine"],
            chunk=header["chunk"],
            kept=group(tensors, "kept."),
            extra=group(tensors, "extra."),
            trace=[
                (iteration, tensors[f"trace.{place}"])
                for place, iteration in enumerate(header["trace"])
            ],
        )


def _groups(state: State) -> dict[str, Variables]:
    return {
        "x": state.x,
        "best": state.best,
        "memory": state.memory,
        "kept": state.kept,
        "extra": state.extra,
    }


def _trace(found: Reconstruction) -> pd.DataFrame:
    rows = [
        {"iteration": iteration, "victim": victim, "restart": restart, "matching_loss": float(loss)}
        for iteration, losses in found.trace
        for victim, row in enumerate(losses)
        for restart, loss in enumerate(row)
    ]
    return pd.DataFrame(rows)
