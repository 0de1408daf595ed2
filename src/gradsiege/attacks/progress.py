"""The state of an attack's loop as tensors and plain data, kept by a job or in a folder (`gradsiege.checkpoints`)."""

from __future__ import annotations

import time

from gradsiege.attacks.engine.loop import State
from gradsiege.attacks.variables import Variables
from gradsiege.priors.resumable import Interruptible
from gradsiege.protocol.observation import group

SECONDS_BETWEEN_SAVES = 30.0


class LoopCheckpointer:
    """Saves the loop's state every half minute and when asked to leave; gives it back on the next start."""

    def __init__(self, job: Interruptible) -> None:
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
            "stage": state.phase,
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
            phase=header["stage"],
            engine=header["engine"],
            chunk=header["chunk"],
            phase_results=group(tensors, "kept."),
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
        "kept": state.phase_results,
        "extra": state.extra,
    }
