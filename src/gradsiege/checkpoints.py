"""Progress in a folder of its own, for long work that no study runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from gradsiege import artifacts
from gradsiege.errors import ArtifactError, StoppedEarlyError

CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class FolderProgress:
    """The progress of an attack in a folder.

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


def identity_of(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    """Return a digest of tensors and plain data, which tells the progress of one piece of work from all others."""
    return artifacts.tensors_digest(tensors, about)
