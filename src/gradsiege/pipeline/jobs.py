"""What every job does around its work: progress that survives, an orderly early end, and a manifest.

A job writes to a draft and is put in its place when it is whole (`places`): until then, whatever a finished cell holds stays as it
is. A job that is killed leaves its progress in ``scratch/<digest>``; the same command takes it up again and ends with
the same bytes. SIGTERM and a time budget do not kill: they ask the job to save and leave with exit code 75, upon which a
scheduler starts it again.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from gradsiege import __version__, artifacts
from gradsiege.errors import MEND, ArtifactError, StoppedEarlyError
from gradsiege.pipeline import places
from gradsiege.pipeline.cells import Cell, digest, resolved
from gradsiege.pipeline.stage import STAGES

if TYPE_CHECKING:
    from torch import Tensor

    from gradsiege.study import Study

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "scikit-image",
    "scikit-learn",
    "grad-cam",
    "piq",
    "lpips",
)
CHECKPOINT = "checkpoint"


class Job:
    """One cell at work: where it writes, when it must stop, what went wrong.

    Args:
        cell: what is computed.
        study: the resolved study.
        root: root of the results and scratch folders.
        time_budget: seconds after which the job saves and leaves; None for no limit.
        folder: where the finished cell shall lie, if not in its own place.
    """

    def __init__(
        self,
        cell: Cell,
        study: Study,
        root: Path = Path(),
        time_budget: float | None = None,
        folder: Path | None = None,
    ) -> None:
        self.cell = cell
        self.study = study
        self.root = root
        self.folder = folder or cell.folder(study, root)
        self.record = resolved(cell, study)
        self.started = time.time()
        self._clock = time.monotonic()
        self._before = 0.0
        self._deadline = None if time_budget is None else self._clock + time_budget
        self._signalled = False
        self.failures: list[str] = []
        self.notes: dict[str, Any] = {}
        self.reads: dict[str, str] = {}

    @property
    def scratch(self) -> Path:
        """Folder of the cell's progress."""
        return self.root / "scratch" / str(self.record["digest"])

    @property
    def draft(self) -> Path:
        """Folder that the job writes to."""
        computed = places.draft_of(self.cell, self.study, self.root)
        return computed.with_name(str(self.record["digest"]))

    def read_instead(self, given: Path, own: Path) -> None:
        """Record that the job reads `given` instead of `own`, a file of the study.

        Unless the two are equal, the result has another digest than the study's cell, and no stage takes it for one.
        """
        found = artifacts.file_digest(given)
        if own.is_file() and artifacts.file_digest(own) == found:
            return
        self.record["read_instead"] = {"file": given.name, "sha256": found}
        both = f"{self.record['digest']} {found}"
        self.record["digest"] = hashlib.sha256(both.encode()).hexdigest()[:16]

    def path(self, name: str) -> Path:
        """Path at which the job writes one of the cell's own files."""
        return self.draft / name

    def input(self, cell: Cell, name: str) -> Path:
        """Path of a file of another cell of the study, refusing what other settings have made; the manifest will record it.

        Whether the file is there and intact is checked when it is read.
        """
        folder = cell.folder(self.study, self.root)
        if (folder / artifacts.MANIFEST).is_file():
            found = artifacts.read_manifest(folder).get("digest")
            if found != digest(cell, self.study):
                raise ArtifactError(
                    f"{folder} was made under other settings than the study's. {MEND}"
                )
            self.reads[f"{cell.stage}/{cell.key}/{name}"] = places.checksum_of(folder / name)
        return folder / name

    @property
    def seconds(self) -> float:
        """Seconds of work so far, those before an interruption included."""
        return self._before + time.monotonic() - self._clock

    def fail(self, reason: str) -> None:
        """Record that (part of) the cell failed; the study goes on and counts it."""
        self.failures.append(reason)

    def should_stop(self) -> bool:
        """Whether a signal arrived or the time budget is spent."""
        late = self._deadline is not None and time.monotonic() >= self._deadline
        return self._signalled or late

    def interrupt(self) -> None:
        """Leave with exit code 75; call it after progress was saved."""
        raise StoppedEarlyError(
            f"{self.cell.stage} {self.cell.key}: stopped early, progress is in {self.scratch}. "
            "Run the same command again to go on."
        )

    def save_progress(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Save a checkpoint; the previous one stays valid until this one is complete."""
        path = self.scratch / f"{CHECKPOINT}.safetensors"
        own = {"seconds": self.seconds, "started": self.started, "reads": self.reads}
        header = {**state, **own, "digest": self.record["digest"]}
        header["checksum"] = artifacts.tensors_digest(tensors, header)
        artifacts.write_tensors(path, tensors, CHECKPOINT, header)

    def load_progress(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return (tensors, state) of this cell's checkpoint, or None when there is none to go on from."""
        from safetensors import SafetensorError

        path = self.scratch / f"{CHECKPOINT}.safetensors"
        if not path.is_file():
            return None
        try:
            tensors, state = artifacts.read_tensors(path, CHECKPOINT, sealed=False)
        except (ArtifactError, SafetensorError):
            # A torn checkpoint costs time, never correctness: start over.
            return None
        if state.pop("checksum", None) != artifacts.tensors_digest(tensors, state):
            return None
        if state.get("digest") != self.record["digest"]:
            return None
        if any(self.reads.get(name, old) != old for name, old in state.get("reads", {}).items()):
            # An input was made again since, and holds other bytes.
            return None
        self._before, self.started = state["seconds"], state["started"]
        return tensors, state

    def finish(self) -> None:
        """Seal the draft with its manifest, put it in its place, and drop the scratch."""
        seconds = self.seconds
        body = {
            **self.record,
            "status": "failed" if self.failures else "complete",
            "reason": "; ".join(self.failures),
            "started": self.started,
            # A clock that was set back in the meantime lets no job end before it began.
            "ended": max(time.time(), self.started + seconds),
            "seconds": seconds,
            "environment": environment(),
            "notes": self.notes,
            places.READS: self.reads,
        }
        artifacts.write_manifest(self.draft, body, list(STAGES[self.cell.stage].outputs))
        if self.folder != self.draft:
            places.swap(self.draft, self.folder, self._replaced)
        shutil.rmtree(self.scratch, ignore_errors=True)

    @contextmanager
    def running(self) -> Iterator[Job]:
        """Take signals while the block runs; when it ends well, the cell is whole and in its place."""
        if self.folder != self.draft:
            places.complete(self.draft, self.folder, self._replaced)
        artifacts.make_folder(self.draft)
        # What is left of an earlier draft must not vouch for the files of this one.
        (self.draft / artifacts.MANIFEST).unlink(missing_ok=True)
        for folder in (self.draft, self.scratch):
            artifacts.sweep_up(folder)
        previous = signal.signal(signal.SIGTERM, self._on_signal)
        try:
            yield self
            self.finish()
        finally:
            signal.signal(signal.SIGTERM, previous)

    @property
    def _replaced(self) -> Path:
        return places.replaced_of(self.cell, self.study, self.root)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True


def environment() -> dict[str, Any]:
    """Return versions, device and commit: what a reader needs to judge where numbers came from."""
    import torch

    versions = {"python": platform.python_version(), "gradsiege": __version__}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    cuda = torch.cuda.is_available()
    return {
        "versions": versions,
        "device": torch.cuda.get_device_name() if cuda else f"CPU ({platform.machine()})",
        "cuda": torch.version.cuda if cuda else None,
        "threads": torch.get_num_threads(),
        "commit": commit(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def commit() -> str:
    """Return the commit of the source tree, with ``+changes`` if it is dirty, or ``unknown``."""
    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty=+changes", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found.stdout.strip()
