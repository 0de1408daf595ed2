"""Progress in a folder of its own, for long computations outside a study."""

from __future__ import annotations

import warnings
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
        folder: the folder of one progress file; other files in it are not changed.
        identity: digest of the attack and of all that its result depends on.
    """

    folder: Path
    identity: str

    @property
    def path(self) -> Path:
        """The progress file."""
        return self.folder / f"{CHECKPOINT}.safetensors"

    def prepare(self) -> None:
        """Make the folder now, so that one that cannot be made is known before the attack begins.

        Raises:
            ArtifactError, OSError: it cannot be made.
        """
        artifacts.make_folder(self.folder)

    def should_stop(self) -> bool:
        """Return False: nothing asks it to stop, and an interruption of the process loses less than a minute."""
        return False

    def interrupt(self) -> None:
        """Leave, after progress was saved."""
        raise StoppedEarlyError(f"stopped early, progress is in {self.folder}")

    def save_progress(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Save tensors and plain data; the previous file stays valid until the new one is complete.

        tensors: by name, of any shape and type.
        """
        header = {**state, "identity": self.identity}
        header["checksum"] = artifacts.tensors_digest(tensors, header)
        artifacts.write_tensors(self.path, tensors, CHECKPOINT, header)

    def load_progress(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the saved tensors and data, or None if there is no undamaged file.

        Tensors have the shapes and types with which they were saved.

        Raises:
            ArtifactError: the progress is another attack's.
        """
        from safetensors import SafetensorError

        if not self.path.is_file():
            return None
        try:
            tensors, state = artifacts.read_tensors(self.path, CHECKPOINT, sealed=False)
        except (ArtifactError, SafetensorError):
            self._tell_damage()
            return None
        if state.pop("checksum", None) != artifacts.tensors_digest(tensors, state):
            self._tell_damage()
            return None
        if state.get("identity") != self.identity:
            raise ArtifactError(
                f"{self.path} is the progress of another attack: its settings, observation, knowledge, priors, seed or engine "
                "differ. Give another folder to resume, or delete it"
            )
        return tensors, state

    def _tell_damage(self) -> None:
        """Say that the file is damaged, which costs time, never correctness."""
        warnings.warn(
            f"{self.path} is damaged, so the attack starts from the beginning", stacklevel=2
        )

    def remove(self) -> None:
        """Delete the progress, once the attack has ended."""
        self.path.unlink(missing_ok=True)


def identity_of(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    """Return a digest of tensors and plain data, which identifies the progress of one computation.

    tensors: by name; names, types, shapes and bytes all count.
    """
    return artifacts.tensors_digest(tensors, about)
