"""The frame of every job: saved progress, an orderly early end, and a manifest.

A job writes to a draft, which is put in its place when it is whole (`places`); until then the files of a finished cell stay as they
are. A job that is killed leaves its progress in ``scratch/<digest>``; the same command takes it up again and ends with
the same bytes. SIGTERM and a time budget do not kill: they ask the job to save and leave with exit code 75, upon which a
scheduler starts it again.
"""

from __future__ import annotations

import functools
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

from gradsiege import __version__, arithmetic, artifacts
from gradsiege.errors import MEND, ArtifactError, StoppedEarlyError
from gradsiege.pipeline import identity, places
from gradsiege.pipeline.cells import Cell, digest, distributions, resolved
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
    "piq",
    "lpips",
)
CHECKPOINT = "checkpoint"


class Job:
    """The computation of one cell: its folders, its time limit and its failures.

    Args:
        cell: the cell to compute.
        study: the resolved study.
        root: root of the results and scratch folders.
        time_budget: seconds after which the job saves and leaves; None for no limit.
        folder: folder of the finished cell, if not its usual place.
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

    def read_instead(self, given: Path, usual: Path) -> None:
        """Record that the job reads `given` instead of `usual`, a file of the study.

        Unless the two are equal, the result gets another digest than the study's cell, so that no stage uses it.
        """
        checksum = artifacts.file_digest(given)
        if usual.is_file() and artifacts.file_digest(usual) == checksum:
            return
        self.record["read_instead"] = {"file": given.name, "sha256": checksum}
        both = f"{self.record['digest']} {checksum}"
        self.record["digest"] = hashlib.sha256(both.encode()).hexdigest()[:16]

    def path(self, name: str) -> Path:
        """Path at which the job writes one of the cell's own files."""
        return self.draft / name

    def input(self, cell: Cell, name: str) -> Path:
        """Return the path of another cell's file, and record it for the manifest; refuse a cell made under other settings.

        The file itself is checked when it is read.
        """
        folder = cell.folder(self.study, self.root)
        if (folder / artifacts.MANIFEST).is_file():
            manifest = artifacts.read_manifest(folder)
            if manifest.get("digest") != digest(cell, self.study):
                self._refuse_stale(cell, manifest)
            self.reads[f"{cell.stage}/{cell.key}/{name}"] = places.checksum_of(folder / name)
        return folder / name

    def _refuse_stale(self, cell: Cell, manifest: Mapping[str, Any]) -> None:
        """Refuse an input made under other settings or from another source, and name the cause."""
        source = self.study.one("datasets", cell.dataset)
        unreadable = identity.unreadable([source])
        if unreadable:
            raise ArtifactError(f"{unreadable}. Put that right, then run the same command again")
        folder = cell.folder(self.study, self.root)
        changed = identity.why_stale(manifest, source)
        why = (
            f"is not of the study any more: {changed}"
            if changed
            else "was made under other settings than the study's"
        )
        raise ArtifactError(f"{folder} {why}. {MEND}")

    @property
    def seconds(self) -> float:
        """Seconds of work so far, including those before an interruption."""
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
        """Save a checkpoint; the previous one stays valid until this one is complete.

        tensors: by name, of any shape and type.
        """
        path = self.scratch / f"{CHECKPOINT}.safetensors"
        record = {"seconds": self.seconds, "started": self.started, "reads": self.reads}
        header = {**state, **record, "digest": self.record["digest"]}
        header["checksum"] = artifacts.tensors_digest(tensors, header)
        artifacts.write_tensors(path, tensors, CHECKPOINT, header)

    def load_progress(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return (tensors, state) of this cell's checkpoint, or None when there is none to go on from.

        Tensors have the shapes and types with which they were saved.
        """
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
            # An input has changed since.
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
            # If the clock was set back during the job, it ends when it began.
            "ended": max(time.time(), self.started + seconds),
            "seconds": seconds,
            "environment": environment(distributions(self.cell, self.study)),
            "notes": self.notes,
            places.READS: self.reads,
        }
        artifacts.write_manifest(self.draft, body, list(STAGES[self.cell.stage].outputs))
        if self.folder != self.draft:
            places.swap(self.draft, self.folder, self._replaced)
        shutil.rmtree(self.scratch, ignore_errors=True)

    @contextmanager
    def running(self) -> Iterator[Job]:
        """Handle signals while the block runs; if it succeeds, seal the cell and put it in its place."""
        if self.folder != self.draft:
            places.complete(self.draft, self.folder, self._replaced)
        places.open_draft(self.draft, STAGES[self.cell.stage].outputs)
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


def environment(plugins: Mapping[str, str]) -> dict[str, Any]:
    """Return versions, device and commit, which tell a reader where numbers come from.

    `plugins` are versions of the distributions whose methods were run.
    """
    import torch

    versions = {"python": platform.python_version(), "gradsiege": __version__, **plugins}
    cuda = torch.cuda.is_available()
    return {
        "versions": versions | {name: _version(name) for name in PACKAGES},
        "device": torch.cuda.get_device_name() if cuda else f"CPU ({platform.machine()})",
        "cuda": torch.version.cuda if cuda else None,
        "threads": torch.get_num_threads(),
        "arithmetic": arithmetic.describe(),
        "commit": commit(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


@functools.cache
def _version(name: str) -> str:
    """Return the version of an installed distribution, or ``absent``."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


@functools.cache
def commit() -> str:
    """Return the commit of the source tree, with ``+changes`` if it is dirty, or ``unknown``; a process asks once, as it loads code."""
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty=+changes", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip()
