"""The whole replay into a real MLflow server on a real PostgreSQL with an artifact store.

Not part of `make test`, since it takes minutes: `make test-services` runs it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from many_cells import many_cells
from mlflow_server import Service, files_of, mlflow_on_postgresql, programs, runs

from gradsiege.datasets.sources import supply
from gradsiege.errors import TrackingError
from gradsiege.pipeline.status import survey
from gradsiege.study import Study
from gradsiege.tracking import server, track
from gradsiege.tracking.reading import flat, read
from gradsiege.tracking.replay import TRACKED

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif(
        programs() is None,
        reason="needs PostgreSQL's own programs, such as initdb (Debian: apt install postgresql)",
    ),
]
Finished = tuple[Study, Path]
MOST_SECONDS = 120
TABLE = ["tables/table_attacks.csv", "tables/table_attacks_data.csv"]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with mlflow_on_postgresql() as found:
        yield found


@pytest.fixture(scope="module")
def drawn(
    finished_study: Finished, verb: Callable[..., int], tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """The finished study with its figures, a table and the report, all of them really drawn."""
    study, source = finished_study
    root = tmp_path_factory.mktemp("drawn") / "copy"
    shutil.copytree(source, root)
    names = [*study.figures, "table_attacks", "report"]
    assert verb("publish", *names, "--study", root / "tiny.yaml", "--root", root) == 0
    return study, root


@pytest.fixture(scope="module")
def tracked(drawn: Finished, service: Service) -> list[str]:
    """What `track` said when it ran twice."""
    return [track(*drawn, service.uri) for _ in range(2)]


def parent(found: list[Any]) -> Any:
    (own,) = (run for run in found if run.data.tags["gradsiege.role"] == "study")
    return own


def renamed(done: Finished, name: str, folder: Path) -> Finished:
    """A copy of a finished study under another name."""
    study, root = done
    shutil.copytree(root / "results" / study.study, folder / "results" / name)
    return study.model_copy(update={"study": name}), folder


def test_twice_gives_no_duplicates(service: Service, tracked: list[str]) -> None:
    said = "runs added, {} already there, 0 damaged; files: {} attached, {} unchanged"
    assert tracked[0] == f"{service.uri}: 7 {said.format(0, 5, 0)}"
    assert tracked[1] == f"{service.uri}: 0 {said.format(7, 0, 5)}"
    assert len(runs(service.uri, "tiny")) == 8


def test_every_cell_is_nested_and_whole(
    drawn: Finished, service: Service, tracked: list[str]
) -> None:
    study, root = drawn
    found = runs(service.uri, "tiny")
    top = parent(found).info
    by_digest = {run.data.tags.get("gradsiege.digest"): run for run in found}
    done = [one for stage in TRACKED for one in survey(study, root)[stage]]
    assert len(done) == len(by_digest) - 1 == 7
    for one in done:
        run = by_digest[one.manifest["digest"]]
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == top.run_id
        assert run.data.tags["gradsiege.cell"] == one.cell.key
        assert run.info.start_time == round(one.manifest["started"] * 1000)
        assert run.info.end_time == round(one.manifest["ended"] * 1000)
        assert run.data.params == flat(one.manifest["settings"])
        last = {
            name: value for name, value, _, _ in read(one.cell, one.manifest, study, root).metrics
        }
        assert run.data.metrics == pytest.approx(last | {"seconds": one.manifest["seconds"]})
    assert top.start_time == min(round(one.manifest["started"] * 1000) for one in done)
    assert top.end_time == max(round(one.manifest["ended"] * 1000) for one in done)


def test_files_come_back_with_the_same_bytes(
    drawn: Finished, service: Service, tracked: list[str], tmp_path: Path
) -> None:
    study, root = drawn
    folder = root / "results" / study.study
    names = [*(f"figures/{name}.png" for name in study.figures), *TABLE]
    expected = {name: (folder / name).read_bytes() for name in (*names, "report.html")}
    assert files_of(service.uri, parent(runs(service.uri, "tiny")), tmp_path) == expected
    # They lie in the server's store, not wherever the client ran.
    stored = {path.read_bytes() for path in service.artifacts.rglob("*") if path.is_file()}
    assert stored == set(expected.values())


def test_an_interrupted_replay_is_completed(
    drawn: Finished, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, root = renamed(drawn, "interrupted", tmp_path)
    from mlflow import MlflowClient

    log, calls = MlflowClient.log_batch, []

    def torn(self: Any, *arguments: Any, **names: Any) -> None:
        calls.append(arguments)
        if len(calls) > 3:
            raise KeyboardInterrupt
        log(self, *arguments, **names)

    monkeypatch.setattr(MlflowClient, "log_batch", torn)
    with pytest.raises(KeyboardInterrupt):
        track(study, root, service.uri)
    assert "RUNNING" in {run.info.status for run in runs(service.uri, "interrupted")}
    monkeypatch.setattr(MlflowClient, "log_batch", log)
    assert "4 runs added, 3 already there, 0 damaged" in track(study, root, service.uri)
    found = runs(service.uri, "interrupted")
    assert {run.info.status for run in found} == {"FINISHED"}
    digests = {run.data.tags.get("gradsiege.digest") for run in found}
    assert len(digests) == len(found) == 8


def test_a_broken_store_keeps_the_runs(drawn: Finished, service: Service, tmp_path: Path) -> None:
    study, root = renamed(drawn, "unkept", tmp_path)
    service.artifacts.rename(tmp_path / "aside")
    service.artifacts.write_text("no folder")
    try:
        with pytest.raises(TrackingError, match="7 runs were added and stay") as caught:
            track(study, root, service.uri)
    finally:
        service.artifacts.unlink()
        (tmp_path / "aside").rename(service.artifacts)
    assert caught.value.exit_code == 7
    assert f"the artifact store of {service.uri} does not take files" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert {run.info.status for run in runs(service.uri, "unkept")} == {"FINISHED"}
    said = track(study, root, service.uri)
    assert "0 runs added, 7 already there, 0 damaged; files: 5 attached, 0 unchanged" in said


def test_no_picture_of_restricted_data_reaches_the_server(
    drawn: Finished, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, root = renamed(drawn, "secret", tmp_path)
    monkeypatch.setattr(supply, "sharing_of", lambda name, parameters: supply.RESTRICTED)
    assert "files: 2 attached, 0 unchanged, 3 withheld" in track(study, root, service.uri)
    own = parent(runs(service.uri, "secret"))
    assert sorted(files_of(service.uri, own, tmp_path / "found")) == TABLE


def test_a_bare_database_takes_runs_and_its_server_the_files(
    drawn: Finished, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, root = renamed(drawn, "bare", tmp_path)
    monkeypatch.setattr(server, "EXPERIMENT", "bare")
    said = track(study, root, service.database)
    assert "7 runs added, 0 already there, 0 damaged; files: none attached, a bare database" in said
    assert service.database not in said, "a password is never shown"
    said = track(study, root, service.uri)
    assert "0 runs added, 7 already there, 0 damaged; files: 5 attached, 0 unchanged" in said


def test_a_wrong_password_fails_within_seconds_and_is_not_shown(
    drawn: Finished, service: Service
) -> None:
    start = time.monotonic()
    head, _, rest = service.database.partition("@")
    with pytest.raises(TrackingError, match="password authentication failed") as caught:
        track(*drawn, f"{head}wrong@{rest}")
    assert time.monotonic() - start < 20
    assert head.rpartition(":")[2] not in str(caught.value)


@pytest.fixture(scope="module")
def thousand(finished_study: Finished, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    root = tmp_path_factory.mktemp("thousand")
    small = yaml.safe_load((finished_study[1] / "tiny.yaml").read_text())
    return many_cells(small, finished_study, root, "thousand"), root


@pytest.mark.parametrize("kind", ["sqlite", "server"])
def test_a_thousand_cells_replay_in_under_two_minutes(
    thousand: Finished, service: Service, tmp_path: Path, kind: str
) -> None:
    study, root = thousand
    uri = service.uri if kind == "server" else f"sqlite:///{tmp_path / 'mlflow.db'}"
    start, used = time.monotonic(), time.process_time()
    said = track(study, root, uri)
    seconds, used = time.monotonic() - start, time.process_time() - used
    print(f"{kind}: {seconds:.0f} s, {used:.0f} s of processor time in this process")
    assert said.startswith(f"{uri}: 1000 runs added, 0 already there, 0 damaged")
    assert track(study, root, uri).startswith(f"{uri}: 0 runs added, 1000 already there")
    found = runs(uri, "thousand")
    assert len({run.data.tags.get("gradsiege.digest") for run in found}) == len(found) == 1001
    assert seconds < MOST_SECONDS, "on a machine with nothing else to do"
