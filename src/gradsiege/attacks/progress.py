"""The state of an attack's loop as tensors and plain data, kept by a job or in a folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from gradsiege import artifacts
from gradsiege.attacks.engine.loop import State
from gradsiege.attacks.variables import Variables
from gradsiege.errors import ArtifactError, StoppedEarlyError
from gradsiege.priors.resumable import Interruptible
from gradsiege.protocol.observation import group

SECONDS_BETWEEN_SAVES = 30.0
CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class FolderProgress:
    """The progress of an attack in a folder of its own, for those who run it without a study.

    Attributes:
        folder: it holds one file; whatever else lies there is left alone.
        identity: digest of the attack, its target and its seed.
    """

    folder: Path
    identity: str

    @property
    def path(self) -> Path:
        """The file that is kept."""
        return self.folder / f"{CHECKPOINT}.safetensors"

    def should_stop(self) -> bool:
        """Nobody asks it to stop; whoever interrupts the process loses less than a minute."""
        return False

    def interrupt(self) -> None:
        """Leave, after progress was saved."""
        raise StoppedEarlyError(f"stopped early, progress is in {self.folder}")

    def save_progress(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Keep tensors and plain data instead of what was kept before, which stays valid until the new file is complete."""
        header = {**state, "identity": self.identity}
        header["checksum"] = artifacts.tensors_digest(tensors, header)
        artifacts.write_tensors(self.path, tensors, CHECKPOINT, header)

    def load_progress(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return what was kept last, or None where nothing is, or nothing whole.

        Raises:
            ArtifactError: the progress is another attack's.
        """
        from safetensors import SafetensorError

        if not self.path.is_file():
            return None
        try:
            tensors, state = artifacts.read_tensors(self.path, CHECKPOINT, sealed=False)
        except (ArtifactError, SafetensorError):
            # A damaged checkpoint costs time, never correctness: start over.
            return None
        if state.pop("checksum", None) != artifacts.tensors_digest(tensors, state):
            return None
        if state.get("identity") != self.identity:
            raise ArtifactError(
                f"{self.path} is the progress of another attack, update or seed; give another folder to resume, or delete it"
            )
        return tensors, state

    def remove(self) -> None:
        """Delete the progress, once the attack has ended."""
        self.path.unlink(missing_ok=True)


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
