"""Runs deleted in MLflow's page come back, once, and the runs of cells hang where they belong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow_server import runs

from gradsiege.study import Study
from gradsiege.tracking import track
from gradsiege.tracking.server import PARENT

pytestmark = pytest.mark.pipeline
Finished = tuple[Study, Path]


@pytest.fixture
def named(study_copy: Finished, request: pytest.FixtureRequest) -> Finished:
    """The finished study under a name of this test."""
    study, root = study_copy
    name = request.node.originalname.removeprefix("test_")[:60]
    (root / "results/tiny").rename(root / "results" / name)
    return study.model_copy(update={"study": name}), root


def client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def own_and_nested(uri: str, study: Study, experiment: str) -> tuple[Any, list[Any]]:
    """The study's own run, of which there is one, and the runs of its cells, all below it."""
    all_runs = runs(uri, study.study, experiment)
    (parent,) = (run for run in all_runs if run.data.tags["gradsiege.role"] == "study")
    nested = [run for run in all_runs if run.data.tags["gradsiege.role"] == "cell"]
    assert {run.data.tags[PARENT] for run in nested} == {parent.info.run_id}
    digests = [run.data.tags["gradsiege.digest"] for run in nested]
    assert len(digests) == len(set(digests)) == 7
    return parent, nested


def settled(study: Study, root: Path, uri: str, experiment: str) -> None:
    """Another replay has nothing to do or to say."""
    summary = track(study, root, uri)
    assert "0 runs added, 7 already there" in summary
    assert len(summary.splitlines()) == 1
    own_and_nested(uri, study, experiment)


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """An experiment of this test, named as MLflow's own tools would be told."""
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)
    return str(request.node.name)


def test_a_deleted_study_is_restored(named: Finished, database: str, experiment: str) -> None:
    study, root = named
    track(study, root, database)
    parent, _ = own_and_nested(database, study, experiment)
    client(database).delete_run(parent.info.run_id)
    summary = track(study, root, database)
    assert "the study's own run had been deleted and was restored" in summary
    assert own_and_nested(database, study, experiment)[0].info.run_id == parent.info.run_id
    settled(study, root, database, experiment)


def test_a_study_that_is_gone_for_good_is_made_anew(
    named: Finished, database: str, experiment: str
) -> None:
    from mlflow.tracking._tracking_service.utils import _get_store

    study, root = named
    track(study, root, database)
    parent, _ = own_and_nested(database, study, experiment)
    client(database).delete_run(parent.info.run_id)
    _get_store(database)._hard_delete_run(parent.info.run_id)  # as `mlflow gc` does
    summary = track(study, root, database)
    assert "the study's own run was gone and was made anew" in summary
    assert "7 nested runs were moved below it" in summary
    assert own_and_nested(database, study, experiment)[0].info.run_id != parent.info.run_id
    settled(study, root, database, experiment)


def test_deleted_cells_come_back(named: Finished, database: str, experiment: str) -> None:
    study, root = named
    track(study, root, database)
    parent, nested = own_and_nested(database, study, experiment)
    for run in [parent, *nested[:3]]:
        client(database).delete_run(run.info.run_id)
    assert "3 runs added, 4 already there" in track(study, root, database)
    settled(study, root, database, experiment)


def test_a_deleted_experiment_is_restored_without_doubles(
    named: Finished, database: str, experiment: str
) -> None:
    study, root = named
    track(study, root, database)
    parent, nested = own_and_nested(database, study, experiment)
    # Restoring an experiment also brings back what had been deleted in it before, and was made anew.
    client(database).delete_run(nested[0].info.run_id)
    track(study, root, database)
    client(database).delete_experiment(parent.info.experiment_id)
    summary = track(study, root, database)
    assert f"the experiment {experiment!r} had been deleted and was restored" in summary
    settled(study, root, database, experiment)


def test_the_address_may_come_from_the_environment(
    named: Finished,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, root = named
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:1")
    assert verb("track", "--study", root / "tiny.yaml", "--root", root) == 7
    told = capsys.readouterr().err
    assert "http://127.0.0.1:1" in told
    assert "secret" not in told
    asked = ("--uri", "sqlite:///nowhere/mlflow.db")
    assert verb("track", "--study", root / "tiny.yaml", "--root", root, *asked) == 7
    assert "the folder nowhere does not exist" in capsys.readouterr().err
