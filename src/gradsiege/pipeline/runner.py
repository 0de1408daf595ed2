"""Run cells one after the other in one process: each has its own files, log and failure, and frees its memory.

A verb called by hand computes its cells and puts each in its place when it is whole. For Snakemake it computes a shard: it skips
finished cells, and new ones wait in ``scratch/staged`` until Snakemake takes them, cell by cell.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from gradsiege import artifacts
from gradsiege.errors import GradSiegeError, StoppedEarlyError, refused_by_machine
from gradsiege.output import addressed
from gradsiege.pipeline.cells import Cell
from gradsiege.pipeline.jobs import CHECKPOINT, Job
from gradsiege.pipeline.places import draft_of, is_current, staged_folder
from gradsiege.study import Study

Work = Callable[[Job], None]
# A cell whose process died this often without progress is skipped, so that the others can finish.
DEATHS = 3


def in_place(cells: Sequence[Cell], make: Callable[[Cell], Job], work: Work) -> None:
    """Compute cells, finished ones too, and put them in their places.

    Raises:
        Exception: the exception of the first failed cell, after the others were computed.
    """
    failed: Exception | None = None
    for cell in cells:
        try:
            _compute(make(cell), work)
        except StoppedEarlyError:
            raise
        except Exception as error:
            if len(cells) > 1:
                print(f"{cell.stage} {cell.key}: {describe(error)}", file=sys.stderr)
            failed = failed or error
        free_memory()
    if failed is not None:
        raise failed


def staged(
    cells: Sequence[Cell], study: Study, root: Path, budget: float | None, work: Work
) -> None:
    """Compute the cells of a shard for Snakemake; cells that failed before come last.

    A failed cell leaves a note beside its draft and does not stop the others.

    Raises:
        StoppedEarlyError: a signal arrived or the time budget ended; finished cells are kept.
    """
    end = None if budget is None else time.monotonic() + budget
    waiting = [cell for cell in cells if not _keep(cell, study, root)]
    for cell in set(cells).difference(waiting):
        # The note of a process that was killed after it had finished the cell.
        note_of(cell, study, root).unlink(missing_ok=True)
        shutil.rmtree(Job(cell, study, root).scratch, ignore_errors=True)
    waiting.sort(key=lambda cell: note_of(cell, study, root).is_file())
    for place, cell in enumerate(waiting):
        left = None if end is None else max(end - time.monotonic(), 0)
        job = Job(cell, study, root, left, draft_of(cell, study, root))
        _stage(job, work)
        if job.should_stop() and waiting[place + 1 :]:
            raise StoppedEarlyError(
                f"{cell.stage}: stopped early, {len(waiting) - place - 1} of {len(cells)} cells are left and what is finished "
                "is kept. Run the same command again to go on."
            )
        free_memory()


def note_of(cell: Cell, study: Study, root: Path) -> Path:
    """Return the file that says how the cell failed; it exists during the computation, in case the process dies."""
    return draft_of(cell, study, root).with_suffix(".failed")


def broken(study: Study, root: Path) -> list[str]:
    """Return the digests of the cells whose last computation for Snakemake failed."""
    notes = (staged_folder(study, root) / "computed").glob("*.failed")
    return sorted(note.stem for note in notes)


def log_of(cell: Cell, study: Study, root: Path) -> Path:
    """Return the log of a cell that waits to be taken."""
    return draft_of(cell, study, root).with_suffix(".log")


def _keep(cell: Cell, study: Study, root: Path) -> bool:
    """Return whether a cell is finished, undamaged and up to date, in its place or as a draft."""
    folders = (draft_of(cell, study, root), cell.folder(study, root))
    return any(is_current(folder, cell, study, root) for folder in folders)


def _stage(job: Job, work: Work) -> None:
    """Compute one cell of a shard, and write its output to its log."""
    cell, study, root = job.cell, job.study, job.root
    note = note_of(cell, study, root)
    with _logged(log_of(cell, study, root)):
        deaths = 0 if (job.scratch / f"{CHECKPOINT}.safetensors").is_file() else deaths_of(note)
        if deaths >= DEATHS:
            print(
                f"{cell.stage} {cell.key}: its process died {deaths} times and left no progress; not tried again. "
                f"If nothing is wrong with the cell (it was killed by hand, the power failed), delete {note}"
            )
            return
        artifacts.write_text(note, f"its process died, the {deaths + 1}. time\n")
        try:
            _compute(job, work)
        except StoppedEarlyError:
            note.unlink()
            raise
        except Exception as error:
            # On a full disk the new note needs the space of the old one, and writing the log may fail.
            note.unlink()
            artifacts.write_text(note, f"{type(error).__name__}\n")
            print(describe(error), file=sys.stderr)
        else:
            note.unlink()


def deaths_of(note: Path) -> int:
    """Return how often a process died at a cell, by its note; 0 if the cell raised an error or never failed."""
    words = note.read_text().split() if note.is_file() else []
    return int(words[-2].rstrip(".")) if words[-1:] == ["time"] else 0


def _compute(job: Job, work: Work) -> None:
    with job.running():
        work(job)
    print(addressed(f"{job.cell.stage} {job.cell.key}: {'; '.join(job.failures) or 'done'}"))


def describe(error: Exception) -> str:
    """Return the text for the user: one message, or a traceback if the program has a bug."""
    if isinstance(error, GradSiegeError):
        return addressed(f"gradsiege: error: {error}")
    if refused_by_machine(error):
        return f"gradsiege: error: {refused_by_machine(error)}"
    return "".join(traceback.format_exception(error)).rstrip()


def free_memory() -> None:
    """Free the memory of the last cell, on the device and in the system, so that the next has as much as in a new process."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    # The allocator would otherwise keep freed memory. Reset the peak, since `federate` records it per cell.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


class _Both:
    """A stream that writes to two."""

    def __init__(self, first: TextIO, second: TextIO) -> None:
        self.streams = (first, second)

    def write(self, text: str) -> int:
        """Write to both."""
        for stream in self.streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush both."""
        for stream in self.streams:
            stream.flush()

    def isatty(self) -> bool:
        """A log is not a terminal."""
        return False


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Write the output to a log as well."""
    artifacts.make_folder(path.parent)
    with path.open("w", encoding="utf-8", buffering=1) as log:
        out, err = _Both(sys.stdout, log), _Both(sys.stderr, log)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield
