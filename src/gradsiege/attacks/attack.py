"""Stage `attack`: read an observation and priors, never the truth; write reconstructions and a trace."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from gradsiege import artifacts, catalogue
from gradsiege.attacks import recipes
from gradsiege.attacks.engine.loop import State
from gradsiege.attacks.engine.recipe import Knowledge, TrainedPrior
from gradsiege.attacks.reconstruct import reconstruct
from gradsiege.jobs import Job
from gradsiege.priors.prior import load_prior
from gradsiege.protocol.observation import load_observation
from gradsiege.protocol.reconstruction import Reconstruction, save_reconstruction
from gradsiege.protocol.threat_model import ThreatModel, require, strip

SECONDS_BETWEEN_SAVES = 30.0


def attack(job: Job, observation: Path | None = None) -> None:
    """Write ``reconstructions.safetensors`` and ``trace.parquet``."""
    cell, study = job.cell, job.study
    entry = study.one("attacks", cell.attack)
    threat = ThreatModel(**study.one("threat_models", cell.threat_model).model_dump())
    require(threat, catalogue.entries("attacks")[entry.name].requires, entry.id)
    path = observation or job.input(cell.at("observe"), "observation.safetensors")
    seen = strip(load_observation(path), threat)
    prior = None
    if entry.prior:
        prior = TrainedPrior(
            *load_prior(job.input(cell.at("prior", prior=entry.prior), "prior.safetensors"))
        )
    knowledge = Knowledge(seen, threat, prior)
    recipe = recipes.build(entry.name, entry.parameters, entry.arm, entry.iterations, knowledge)
    # The starts depend on the victim and the seed alone: attacks that start in one space start alike.
    seed = (study.seed, cell.at("observe").key, "attack")
    saver = Saver(job)
    found = reconstruct(knowledge, recipe, entry.restarts, seed, saver.resume, saver.pause)
    failures = dict(seen.failures)
    for victim in torch.isfinite(found.matching_loss).logical_not().nonzero().flatten().tolist():
        failures.setdefault(victim, "the matching loss was never finite")
    if failures:
        job.fail(
            f"{len(failures)} of {seen.victims} victims: "
            + "; ".join(sorted(set(failures.values())))
        )
    job.notes = {
        "threat_model": threat.describe(),
        "evaluations": (entry.iterations + 1) * entry.restarts,
        "iterations": entry.iterations,
        "restarts": entry.restarts,
    }
    save_reconstruction(job.path("reconstructions.safetensors"), replace(found, failures=failures))
    artifacts.write_table(job.path("trace.parquet"), _trace(found))


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
        iterations = [iteration for iteration, _ in state.trace]
        tensors = {
            "x": state.x,
            "best": state.best,
            "best_loss": state.best_loss,
            "best_iteration": state.best_iteration,
            **{f"moments.{name}": value for name, value in state.moments.items()},
            **{f"trace.{iteration}": losses for iteration, losses in state.trace},
        }
        self.job.save_progress(tensors, {"iteration": state.iteration, "trace": iterations})
        self.last = time.monotonic()
        if stop:
            self.job.interrupt()

    def resume(self, fresh: State) -> State:
        """Return the saved state of this cell, or the fresh one."""
        saved = self.job.load_progress()
        if saved is None:
            return fresh
        tensors, state = saved
        moments = {name: tensors[f"moments.{name}"] for name in fresh.moments}
        trace = [(iteration, tensors[f"trace.{iteration}"]) for iteration in state["trace"]]
        return State(
            tensors["x"],
            tensors["best"],
            tensors["best_loss"],
            tensors["best_iteration"],
            moments,
            state["iteration"],
            trace,
        )


def _trace(found: Reconstruction) -> pd.DataFrame:
    rows = [
        {"iteration": iteration, "victim": victim, "restart": restart, "matching_loss": float(loss)}
        for iteration, losses in found.trace
        for victim, row in enumerate(losses)
        for restart, loss in enumerate(row)
    ]
    return pd.DataFrame(rows)
