"""While a study runs, its cells appear in MLflow: soon, once, whole, and whatever the server does meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow_server import free_port, mlflow, runs

from gradsiege import artifacts
from gradsiege.errors import StoppedEarlyError, TrackingError
from gradsiege.pipeline.cells import Cell, cells
from gradsiege.study import Study
from gradsiege.tracking import follow
from gradsiege.tracking.replay import TRACKED
from gradsiege.tracking.server import Server
from gradsiege.tracking.watch import Watch

pytestmark = pytest.mark.pipeline
Finished = tuple[Study, Path]
MOST_SECONDS = 60  # what a busy machine may need for one look and one run


class Running:
    """A study whose cells are finished one after the other, as jobs would: files first, manifest last."""

    def __init__(self, study: Study, done: Path, root: Path) -> None:
        self.study, self.done, self.root = study, done, root
        self.cells = [cell for stage in TRACKED for cell in cells(study)[stage]]

    def finish(self, cell: Cell) -> float:
        """Finish one cell; return when it was there."""
        source, target = cell.folder(self.study, self.done), cell.folder(self.study, self.root)
        target.mkdir(parents=True)
        for path in source.iterdir():
            if path.name != artifacts.MANIFEST:
                shutil.copy(path, target)
        part = target / ".manifest.json.x.part"
        shutil.copyfile(source / artifacts.MANIFEST, part)
        part.replace(target / artifacts.MANIFEST)
        return time.monotonic()

    def draw(self) -> None:
        """Write figures and report, as the last jobs do."""
        folder = self.root / "results" / self.study.study
        for name in (*(f"figures/{name}.png" for name in self.study.figures), "report.html"):
            artifacts.write_text(folder / name, name)


@pytest.fixture
def running(study_copy: Finished, tmp_path: Path, request: pytest.FixtureRequest) -> Running:
    """The tiny study under a name of this test, nothing of it finished."""
    study, done = study_copy
    name = request.node.originalname.removeprefix("test_")[:60]
    (done / "results/tiny").rename(done / "results" / name)
    return Running(study.model_copy(update={"study": name}), done, tmp_path / "running")


@contextmanager
def beside(work: Callable[[], None]) -> Iterator[threading.Event]:
    """Run something in a thread beside the block; gives an event that is set if it fails, which ends what follows it."""
    failed = threading.Event()

    def guarded() -> None:
        try:
            work()
        except BaseException:
            failed.set()
            raise

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    yield failed
    thread.join(300)
    assert not thread.is_alive()
    assert not failed.is_set()


def written(uri: str, study: Study) -> set[str]:
    digests = {run.data.tags.get("gradsiege.digest", "") for run in runs(uri, study.study)}
    return digests - {""}


def wait_for(happened: Any, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> dict[Cell, float]:
    """When each cell was written to a server."""
    times: dict[Cell, float] = {}
    write = Server.write

    def noted(self: Server, replayed: Any, replay: Any) -> None:
        write(self, replayed, replay)
        times[replayed.cell] = time.monotonic()

    monkeypatch.setattr(Server, "write", noted)
    return times


def test_cells_appear_soon_after_they_finish_and_following_ends_by_itself(
    running: Running, database: str, moments: dict[Cell, float], capsys: pytest.CaptureFixture[str]
) -> None:
    finished: dict[Cell, float] = {}

    def work() -> None:
        for cell in running.cells:
            finished[cell] = running.finish(cell)
            # The next one finishes when this one was seen: each is a look of its own.
            wait_for(lambda cell=cell: cell in moments)
        running.draw()

    Server(database, running.study)  # makes the tables of the database, which takes long
    with beside(work) as failed:
        summary = follow(running.study, running.root, database, failed)
    assert {*moments} == {*running.cells}
    assert max(moments[cell] - finished[cell] for cell in finished) < MOST_SECONDS
    assert "0 runs added, 7 already there, 0 damaged (" in summary
    assert "contents); files: 3 attached" in summary
    assert len(runs(database, running.study.study)) == 8
    assert {run.info.status for run in runs(database, running.study.study)} == {"FINISHED"}


def test_a_cell_that_is_still_being_written_is_not_read(running: Running) -> None:
    watch = Watch(running.cells, running.study, running.root)
    assert watch.finished() == []
    first = running.cells[0]
    running.finish(first)
    folder = first.folder(running.study, running.root)
    (folder / artifacts.MANIFEST).rename(folder / ".manifest.json.x.part")
    assert watch.finished() == []
    (folder / ".manifest.json.x.part").rename(folder / artifacts.MANIFEST)
    assert [status.cell for status in watch.finished()] == [first]
    # Of other settings: passed over until another manifest takes its place.
    manifest = artifacts.read_manifest(folder)
    artifacts.write_json(folder / artifacts.MANIFEST, manifest | {"digest": "0" * 16})
    assert watch.finished() == []
    artifacts.write_json(folder / artifacts.MANIFEST, manifest)
    assert [status.cell for status in watch.finished()] == [first]


def test_a_look_costs_the_folders_at_work_and_not_the_study(
    tiny_raw: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradsiege.pipeline.cells import remember
    from gradsiege.study import parse

    study = remember(parse(tiny_raw | {"seeds": [*range(2000)]}))
    of_study = cells(study)
    wanted = [cell for stage in TRACKED for cell in of_study[stage]]
    assert len(wanted) > 12_000
    for cell in wanted[:50]:
        cell.folder(study, tmp_path).mkdir(parents=True)
    watch, listed = Watch(wanted, study, tmp_path), []
    iterdir = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: listed.append(self) or iterdir(self))
    assert watch.finished() == []
    assert len(listed) < 70
    for cell in wanted:
        watch.drop(cell)
    assert watch.tree == {}


def test_a_server_that_goes_away_is_waited_for(
    running: Running, tmp_path: Path, moments: dict[Cell, float], capsys: pytest.CaptureFixture[str]
) -> None:
    store, port = f"sqlite:///{tmp_path / 'mlflow.db'}", free_port()
    first, *others = running.cells

    def work() -> None:
        running.finish(first)
        wait_for(lambda: first in moments)
        server.__exit__(None, None, None)
        for cell in others:
            running.finish(cell)
        running.draw()
        wait_for(lambda: "Following goes on." in told())
        with mlflow(tmp_path, store, port):
            wait_for(ended.is_set)

    heard: list[str] = []

    def told() -> str:
        heard.append(capsys.readouterr().err)
        return "".join(heard)

    ended, server = threading.Event(), mlflow(tmp_path, store, port)
    uri = server.__enter__()
    with beside(work) as failed:
        try:
            follow(running.study, running.root, uri, failed)
            digests = written(uri, running.study)
        finally:
            ended.set()
    assert len(digests) == len(running.cells)
    assert told().count("Following goes on.") == 1
    assert f"track: {uri} answers again" in told()


def test_a_server_that_was_never_there_is_one_sentence(running: Running) -> None:
    with pytest.raises(TrackingError, match="No result was changed"):
        follow(running.study, running.root, f"http://127.0.0.1:{free_port()}", threading.Event())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order_with_code_75(
    finished_study: Finished, tmp_path: Path, database: str, number: int
) -> None:
    """In a process of its own, as a user would start it: two of seven cells are there."""
    study, done = finished_study
    part = Running(study, done, tmp_path / "part")
    for cell in part.cells[:2]:
        part.finish(cell)
    uri = f"sqlite:///{tmp_path / 'own.db'}"
    shutil.copy(database.removeprefix("sqlite:///"), tmp_path / "own.db")
    known = len(written(uri, study))
    command = [sys.executable, "-m", "gradsiege", "track", "--follow"]
    command += ["--study", str(done / "tiny.yaml"), "--root", str(part.root)]
    process = subprocess.Popen(
        command,
        env=os.environ | {"MLFLOW_TRACKING_URI": uri},
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    if not known:
        wait_for(lambda: len(written(uri, study)) == 2)
    process.send_signal(number)
    output = process.communicate(timeout=120)[1]
    assert process.returncode == StoppedEarlyError.exit_code
    assert "stopped following the study tiny: 2 of 7 cells are written" in output
    assert "Traceback" not in output


def test_files_that_do_not_agree_yet_are_tried_again(
    running: Running, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a network file system, a manifest may be seen before the files that it names."""
    for cell in running.cells:
        running.finish(cell)
    late = next(cell for cell in running.cells if cell.stage == "score")
    path = late.folder(running.study, running.root) / "scores.parquet"
    hidden = path.with_name(".later")
    path.rename(hidden)
    looks = []
    finished = Watch.finished

    def look(self: Watch) -> Any:
        looks.append(1)
        if len(looks) == 3:
            hidden.rename(path)
        return finished(self)

    monkeypatch.setattr(Watch, "finished", look)
    running.draw()
    follow(running.study, running.root, database, threading.Event())
    assert len(looks) >= 3
    assert len(written(database, running.study)) == 7
