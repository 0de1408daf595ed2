"""`gradsiege track --follow`: write cells into MLflow while the study runs, wherever its jobs run.

It reads only files: no job knows of it, and it sees the files that other machines of a cluster write into the shared folder.
A cell exists when its manifest does, so no unfinished cell is read. If the server goes away, it waits for it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from gradsiege.errors import ArtifactError, StoppedEarlyError, TrackingError
from gradsiege.output import addressed
from gradsiege.pipeline import absent_data
from gradsiege.pipeline.cells import Cell, cells
from gradsiege.pipeline.status import Status
from gradsiege.progress import track as progress
from gradsiege.study import Study
from gradsiege.tracking.addresses import AGAIN, probe, shown, translated
from gradsiege.tracking.attachments import attached
from gradsiege.tracking.reading import read
from gradsiege.tracking.replay import TRACKED, track
from gradsiege.tracking.server import Server
from gradsiege.tracking.watch import Watch

SECONDS_BETWEEN_LOOKS = 1.0
LONGEST_WAIT = 30.0  # seconds until a server that went away is asked again
SECONDS_TO_DRAW = 600.0  # after the last cell, for figures, tables and report
TRIES = 5  # at a cell whose files do not agree with its manifest yet


def follow(study: Study, root: Path, uri: str, stop: Event) -> str:
    """Write cells as they finish, until the study is complete; return a summary in sentences.

    Args:
        study: the resolved study.
        root: folder that holds ``results``.
        uri: an MLflow tracking URI.
        stop: ends the following when it is set.

    Raises:
        TrackingError: the server cannot be used when the following begins.
        StoppedEarlyError: `stop` was set before the study was complete.
    """
    follower = Follower(study, root, uri, stop)
    follower.connect()
    for _ in progress(follower.arrivals(), follower.total, "track"):
        pass
    if not stop.is_set():
        follower.wait_for_drawings()
    report = follower.conclude()
    if follower.left:
        raise StoppedEarlyError(
            f"stopped following the study {study.study}: {follower.total - follower.left} of {follower.total} cells are "
            f"written. Run the same command again to go on.\n{report}"
        )
    return report


class Follower:
    """The progress of writing one study to one server.

    Attributes:
        total: cells that will be written; those that wait for absent data are not among them.
        left: number of cells not written yet.
    """

    def __init__(self, study: Study, root: Path, uri: str, stop: Event) -> None:
        self.study, self.root, self.uri, self.stop = study, root, uri, stop
        absent = absent_data.absent(study, root)
        of_study = cells(study)
        wanted = [
            cell
            for stage in TRACKED
            for cell in of_study[stage]
            if not absent_data.waits_for(cell, study, absent)
        ]
        self.watch = Watch(wanted, study, root)
        self.total = self.left = len(wanted)
        self.tries: dict[Cell, int] = {}
        self.server: Server | None = None
        self.known: set[str] = set()
        self.newest = 0.0  # when the last cell that arrived was finished
        self.wait = SECONDS_BETWEEN_LOOKS
        self.complaint = ""

    def connect(self) -> Server:
        """Return the server; after a disconnection, read its runs again.

        Raises:
            TrackingError: it does not answer.
        """
        if self.server is None:
            probe(self.uri)
            with translated(self.uri):
                server = Server(self.uri, self.study)
                self.known = server.finished()
            self.server = server
            if self.complaint:
                print(f"track: {shown(self.uri)} answers again", file=sys.stderr, flush=True)
            self.wait, self.complaint = SECONDS_BETWEEN_LOOKS, ""
        return self.server

    def arrivals(self) -> Iterator[int]:
        """Yield once per written cell, until all are written or `stop` is set."""
        first = True
        while self.left and not self.stop.is_set():
            finished = self.watch.finished()
            try:
                for cell_status in self._written(finished):
                    self.watch.drop(cell_status.cell)
                    self.left -= 1
                    if not first:
                        self.newest = max(self.newest, self.watch.time_of(cell_status.cell))
                    yield self.total - self.left
            except TrackingError as error:
                self._lost(error)
            first = False
            if self.left:
                self.stop.wait(self.wait)

    def _written(self, finished: list[Status]) -> Iterator[Status]:
        """Write cells to the server and yield each; cells that were there already come first."""
        if not finished:
            return
        server = self.connect()
        new = []
        for cell_status in finished:
            if cell_status.manifest["digest"] in self.known:
                yield cell_status
            else:
                new.append(cell_status)
        if not new:
            return
        with translated(self.uri):
            server.open(min(float(cell_status.manifest["started"]) for cell_status in new))
            with ThreadPoolExecutor(server.writers) as pool:
                waiting = [pool.submit(self._write, server, cell_status) for cell_status in new]
                try:
                    for cell_status, writing in zip(new, waiting, strict=True):
                        if self.stop.is_set():
                            break
                        if writing.result():
                            yield cell_status
                finally:
                    pool.shutdown(cancel_futures=True)

    def _write(self, server: Server, cell_status: Status) -> bool:
        """Write one cell, unless its files do not agree with its manifest (another machine may still be writing them)."""
        try:
            replay = read(cell_status.cell, cell_status.manifest, self.study, self.root)
        except ArtifactError as error:
            self.tries[cell_status.cell] = self.tries.get(cell_status.cell, 0) + 1
            if self.tries[cell_status.cell] >= TRIES:
                self.watch.refuse(cell_status.cell)
                self.tries[cell_status.cell] = 0
                print(addressed(f"track: {error}"), file=sys.stderr, flush=True)
            return False
        server.write(cell_status, replay)
        return True

    def _lost(self, error: TrackingError) -> None:
        """Report once that the server went away, and retry at growing intervals."""
        self.server = None
        if not self.complaint:
            self.complaint = str(error).removesuffix(AGAIN).rstrip()
            print(f"track: {self.complaint} Following goes on.", file=sys.stderr, flush=True)
        self.wait = min(2 * self.wait, LONGEST_WAIT)

    def wait_for_drawings(self) -> None:
        """Wait until the figures, tables and the report are younger than the last cell, for ten minutes at most.

        It does not wait if all cells were there at the start.
        """
        end = time.monotonic() + SECONDS_TO_DRAW
        folder = self.root / "results" / self.study.study
        names = [file for name in self.study.figures for file in attached(name)]
        waiting = [folder / name for name in (*names, "report.html")] if self.newest else []
        while waiting and time.monotonic() < end:
            waiting = [path for path in waiting if not self._is_young(path)]
            if waiting and self.stop.wait(SECONDS_BETWEEN_LOOKS):
                return

    def _is_young(self, path: Path) -> bool:
        try:
            return path.stat().st_mtime >= self.newest
        except FileNotFoundError:
            return False

    def conclude(self) -> str:
        """Replay the study once more, which restores deleted runs and attaches files; return its summary.

        Raises:
            TrackingError: the server answers but refuses, for example because its store takes no files.
        """
        refusals = 0
        while True:
            try:
                return track(self.study, self.root, self.uri)
            except TrackingError as error:
                refusals = refusals + 1 if self._answers() else 0
                if self.stop.is_set() or refusals >= TRIES:
                    raise
                self._lost(error)
            self.stop.wait(self.wait)

    def _answers(self) -> bool:
        try:
            probe(self.uri)
        except TrackingError:
            return False
        return True
