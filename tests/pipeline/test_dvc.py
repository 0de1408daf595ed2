"""Bundles go to a remote and come back: commit, push, clone, pull, verify, touch, and nothing reruns."""

from __future__ import annotations

import pytest
import yaml

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def published(finished, tmp_path_factory):
    """The finished study, its bundles pushed to a remote in a folder beside it."""
    folder = tmp_path_factory.mktemp("published")
    workspace = finished.copy(folder / "gradsiege")
    bundles = workspace.folder / "dvc.yaml"
    stages = yaml.safe_load(bundles.read_text())["stages"]
    stages = {name: stage for name, stage in stages.items() if not name.endswith("_restricted")}
    del stages["shadows"]
    for stage in stages.values():
        stage["matrix"] = {"study": ["tiny"]}
    bundles.write_text(yaml.safe_dump({"stages": stages}))
    workspace.run("dvc", "remote", "add", "--local", "--default", "store", str(folder / "store"))
    workspace.run("dvc", "commit", "--force")
    workspace.run("dvc", "push")
    workspace.run("git", "add", "--all")
    workspace.run("git", "commit", "--quiet", "--message", "publish tiny")
    return workspace


def clone_of(published, folder, *bundles):
    """A clone that pulled some bundles, or all of them."""
    published.run("git", "clone", "--quiet", ".", str(folder))
    clone = type(published)(folder)
    store = published.folder.parent / "store"
    clone.run("dvc", "remote", "add", "--local", "--default", "store", str(store))
    clone.run("dvc", "pull", *bundles)
    return clone


def test_publishing_leaves_results_and_repository_clean(published):
    assert published.run("git", "status", "--porcelain") == ""
    assert "up to date" in published.run("dvc", "status")


def test_everything_comes_back(published, tmp_path):
    clone = clone_of(published, tmp_path / "clone")
    clone.run("gradsiege", "verify", "--study", "config/tiny.yaml")
    for stage in ("fetch", "prior", "federate", "observe", "attack", "score"):
        assert clone.checksums(stage) == published.checksums(stage)
    clone.snakemake("--touch", "--forceall")
    assert clone.planned() == {}
    # The digests are on record again: a change of settings is seen.
    clone.rewrite(
        "config/tiny.yaml", "{name: gi_pip, iterations: 5", "{name: gi_pip, iterations: 6"
    )
    again = {"attack": 1, "attack_cell": 1, "score": 1, "score_cell": 1}
    assert clone.planned() == {**again, "figure": 1, "table": 1, "report": 1}


def test_figures_come_back_alone(published, tmp_path):
    clone = clone_of(published, tmp_path / "clone", "tables", "figures")
    assert not (clone.folder / "results/tiny/attack").exists()
    clone.snakemake("--touch", "--forceall")
    assert clone.planned() == {}
