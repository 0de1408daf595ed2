"""MLflow is a view of the results: written once, honest about infinity, and never able to hurt them."""

from __future__ import annotations

import hashlib
import math
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow_server import free_port, runs

from gradsiege import artifacts
from gradsiege.analysis.summary import PSNR_CAP
from gradsiege.errors import TrackingError
from gradsiege.pipeline.status import Status, survey
from gradsiege.study import Study
from gradsiege.tracking import track
from gradsiege.tracking.addresses import probe, shown
from gradsiege.tracking.reading import _scores, read
from gradsiege.tracking.server import ENVIRONMENT, Server

pytestmark = pytest.mark.pipeline
Finished = tuple[Study, Path]


def prints(folder: Path) -> dict[str, str]:
    """Checksum of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def tracked(
    finished_study: Finished, database: str, tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """What `track` said when it ran twice, in a folder of its own."""
    study, root = finished_study
    before = prints(root)
    with chdir(tmp_path_factory.mktemp("elsewhere")):
        summaries = [track(study, root, database), track(study, root, database)]
        assert not list(Path.cwd().iterdir()), "track leaves nothing in the working folder"
    assert prints(root) == before
    return summaries


def run_of(status: Status, database: str) -> Any:
    """The run of a finished cell."""
    wanted = status.manifest["digest"]
    return next(
        run for run in runs(database, "tiny") if run.data.tags.get("gradsiege.digest") == wanted
    )


def test_twice_gives_no_duplicates(
    finished_study: Finished, database: str, tracked: list[str]
) -> None:
    # One prior, two federations, four scores.
    assert tracked[0].startswith(f"{database}: 7 runs added, 0 already there")
    assert tracked[1].startswith(f"{database}: 0 runs added, 7 already there")
    all_runs = runs(database, "tiny")
    cells = [run for run in all_runs if run.data.tags["gradsiege.role"] == "cell"]
    parents = [run for run in all_runs if run.data.tags["gradsiege.role"] == "study"]
    assert len(cells) == 7
    assert len(parents) == 1
    assert {run.data.tags["mlflow.parentRunId"] for run in cells} == {parents[0].info.run_id}
    assert len({run.data.tags["gradsiege.digest"] for run in cells}) == 7
    assert {run.info.status for run in all_runs} == {"FINISHED"}


def test_runs_carry_the_original_times_and_identity(
    finished_study: Finished, database: str, tracked: list[str]
) -> None:
    study, root = finished_study
    by_digest = {run.data.tags.get("gradsiege.digest"): run for run in runs(database, "tiny")}
    for status in survey(study, root)["federate"]:
        run = by_digest[status.manifest["digest"]]
        assert run.info.start_time == round(status.manifest["started"] * 1000)
        assert run.info.end_time == round(status.manifest["ended"] * 1000)
        assert run.data.tags["gradsiege.cell"] == status.cell.key
        assert run.data.tags["gradsiege.commit"] == status.manifest["environment"]["commit"]
        assert run.data.params["defense.name"] == status.cell.defense


def test_utility_has_one_step_per_round(
    finished_study: Finished, database: str, tracked: list[str]
) -> None:
    from mlflow import MlflowClient

    study, root = finished_study
    status = survey(study, root)["federate"][0]
    table = artifacts.read_table(status.cell.folder(study, root) / "utility.parquet")
    run = run_of(status, database)
    history = MlflowClient(tracking_uri=database).get_metric_history(run.info.run_id, "accuracy")
    assert [(point.step, point.value) for point in history] == list(
        zip(table["round"], table["accuracy"], strict=True)
    )


def test_scores_are_the_means_of_the_table(
    finished_study: Finished, database: str, tracked: list[str]
) -> None:
    study, root = finished_study
    status = survey(study, root)["score"][0]
    table = artifacts.read_table(status.cell.folder(study, root) / "scores.parquet")
    run = run_of(status, database)
    mean = table[table.attack == "gi_pip"].psnr.mean()
    assert run.data.metrics["psnr/gi_pip"] == pytest.approx(mean)
    assert run.data.metrics["images/gi_pip"] == study.victims
    assert run.data.metrics["failed/gi_pip"] == 0
    # LPIPS is absent without its weights: an absent metric is not a number.
    assert ("lpips/gi_pip" in run.data.metrics) == bool(table["lpips"].notna().any())


def test_a_perfect_copy_is_capped_and_flagged(study_copy: Finished) -> None:
    study, root = study_copy
    status = survey(study, root)["score"][0]
    folder = status.cell.folder(study, root)
    table = artifacts.read_table(folder / "scores.parquet")
    chosen = table.attack == "gi_pip"
    table.loc[chosen, "psnr"] = [math.inf, 20.0]
    artifacts.write_table(folder / "scores.parquet", table)
    body = {key: value for key, value in status.manifest.items() if key != "files"}
    artifacts.write_manifest(folder, body, list(status.manifest["files"]))
    replay = read(status.cell, status.manifest, study, root)
    numbers = {name: value for name, value, _, _ in replay.metrics}
    assert numbers["psnr/gi_pip"] == (PSNR_CAP + 20) / 2
    assert numbers["perfect/gi_pip"] == 1
    assert replay.flags == {"gradsiege.psnr_capped": "100 dB"}
    assert all(math.isfinite(value) for value in numbers.values())


def test_failed_images_are_counted_and_nan_is_never_sent() -> None:
    rows = pd.DataFrame(
        {
            "threat_model": "t",
            "attack": "dlg",
            "psnr": [math.nan, math.nan],
            "status": "failed",
            "identified": False,
        }
    )
    names = dict.fromkeys(name for name, *_ in _scores(rows, True, 0.0).metrics)
    assert list(names) == ["identified/t/dlg", "failed/t/dlg", "images/t/dlg"]


def test_an_interrupted_replay_is_completed(
    study_copy: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    study, root = study_copy
    renamed = study.model_copy(update={"study": "interrupted"})
    (root / "results" / "tiny").rename(root / "results" / "interrupted")
    write, calls = Server.write, []

    def torn(self: Server, *arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            monkeypatch.setattr(self.client, "log_batch", fail)
        write(self, *arguments)

    def fail(*arguments: Any, **names: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "write", torn)
    with pytest.raises(KeyboardInterrupt):
        track(renamed, root, database)
    monkeypatch.setattr(Server, "write", write)
    assert "6 runs added, 1 already there" in track(renamed, root, database)
    all_runs = runs(database, "interrupted")
    digests = [run.data.tags.get("gradsiege.digest") for run in all_runs]
    assert len(digests) == len(set(digests)) == 8


def test_damaged_and_stale_cells_are_left_out(study_copy: Finished, database: str) -> None:
    study, root = study_copy
    renamed = study.model_copy(update={"study": "damaged"})
    (root / "results" / "tiny").rename(root / "results" / "damaged")
    states = survey(renamed, root)
    damaged = states["federate"][0].cell.folder(renamed, root) / "utility.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    stale = states["prior"][0]
    artifacts.write_json(
        stale.cell.folder(renamed, root) / "manifest.json", stale.manifest | {"digest": "0" * 16}
    )
    summary = track(renamed, root, database)
    assert "5 runs added, 0 already there, 1 damaged, 1 stale" in summary
    assert str(damaged) in summary


@pytest.mark.parametrize(
    ("stage", "sort"),
    [("federate", "empty"), ("federate", "folder"), ("federate", "torn"), ("attack", "torn")],
)
def test_a_damaged_manifest_is_counted_and_named(
    study_copy: Finished, database: str, stage: str, sort: str
) -> None:
    study, root = study_copy
    renamed = study.model_copy(update={"study": f"damaged-{stage}-{sort}"})
    (root / "results" / "tiny").rename(root / "results" / renamed.study)
    manifest = survey(renamed, root)[stage][0].cell.folder(renamed, root) / "manifest.json"
    text = manifest.read_text()
    if sort == "folder":
        manifest.unlink()
        manifest.mkdir()
    else:
        manifest.write_text("" if sort == "empty" else text[: len(text) // 2])
    summary = track(renamed, root, database)
    # An attack has no run of its own.
    runs = 7 if stage == "attack" else 6
    assert f"{runs} runs added, 0 already there, 1 damaged" in summary
    assert str(manifest) in summary


@pytest.mark.parametrize("sort", ["absent", "cut"])
def test_files_that_no_run_reads_are_looked_at_by_size(
    study_copy: Finished, database: str, sort: str
) -> None:
    """Those of attacks, which have no run, and those of cells whose run is there."""
    study, root = study_copy
    renamed = study.model_copy(update={"study": f"sized-{sort}"})
    (root / "results" / "tiny").rename(root / "results" / renamed.study)
    track(renamed, root, database)
    cell = survey(renamed, root)["attack"][0].cell.folder(renamed, root)
    damaged = cell / "reconstructions.safetensors"
    whole = damaged.read_bytes()
    damaged.unlink()
    if sort == "cut":
        damaged.write_bytes(whole[:-1])
    summary = track(renamed, root, database)
    assert "0 runs added, 7 already there, 1 damaged" in summary
    assert str(damaged) in summary
    assert "`gradsiege verify` compares their contents" in summary


def test_a_dead_server_fails_fast_and_changes_nothing(
    finished_study: Finished, verb: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    _, root = finished_study
    before, start = prints(root), time.monotonic()
    uri = f"http://127.0.0.1:{free_port()}"
    code = verb("track", "--study", root / "tiny.yaml", "--root", root, "--uri", uri)
    assert time.monotonic() - start < 10
    assert code == TrackingError.exit_code == 7
    assert prints(root) == before
    error = capsys.readouterr().err
    assert uri in error
    assert "No result was changed" in error
    assert len(error.splitlines()) == 1


def test_a_server_that_never_answers_fails_within_seconds(
    finished_study: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, root = finished_study
    monkeypatch.setitem(ENVIRONMENT, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        stop = threading.Timer(60, silent.close)
        stop.start()
        start = time.monotonic()
        with pytest.raises(TrackingError, match="cannot be used"):
            track(study, root, f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - start < 30
        stop.cancel()


def test_the_guards_stand_before_mlflow_is_imported(
    finished_study: Finished, database: str, tracked: list[str]
) -> None:
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["DO_NOT_TRACK"] == "true"


def test_without_mlflow_the_extra_is_named(
    finished_study: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    study, root = finished_study
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(TrackingError, match=r'pip install "\.\[pipeline\]"'):
        track(study, root, f"sqlite:///{tmp_path / 'x.db'}")


@pytest.mark.parametrize(
    ("uri", "hint"),
    [
        ("sqlite:///nowhere/mlflow.db", "the folder nowhere does not exist"),
        ("sqlite:///README.md", "is not an SQLite database"),
        ("./mlruns", "use sqlite"),
        ("file:///somewhere/mlruns", "use sqlite"),
        ("gopher://somewhere", "cannot be used"),
        ("http://127.0.0.1:notaport", "cannot be used"),
        ("http://[::1", "'http://\\[::1' is not the address"),
        ("http://me:secret@[::1", "'\\[::1' is not the address"),
        ("postgresql://[x]/db", "is not the address|cannot be used"),
        (f"http://{'a' * 70}.org", "cannot be used"),
        ("", "is empty; use sqlite"),
        (" ", "is empty; use sqlite"),
        ("sqlite:////proc/x.db", "cannot be written"),
        ("sqlite:////dev/null", "cannot be written"),
        ("sqlite:///", "cannot be written"),
        (f"sqlite:///{'a' * 300}.db", "cannot be written"),
        ("sqlite:///pipe", "cannot be written"),
    ],
)
def test_a_wrong_uri_is_one_sentence(
    finished_study: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, hint: str
) -> None:
    study, root = finished_study
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("not a database")
    os.mkfifo(tmp_path / "pipe")
    start = time.monotonic()
    with pytest.raises(TrackingError, match=hint) as caught:
        track(study, root, uri)
    assert len(str(caught.value).splitlines()) == 1
    assert "secret" not in str(caught.value)
    assert time.monotonic() - start < 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "pipe"]


def test_a_password_is_never_shown() -> None:
    assert shown("postgresql://me:secret@db:5432/x") == "postgresql://db:5432/x"
    with pytest.raises(TrackingError) as caught:
        probe(f"http://me:secret@127.0.0.1:{free_port()}")
    assert "secret" not in str(caught.value)
