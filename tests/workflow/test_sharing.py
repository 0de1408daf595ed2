"""Bundles go to a remote and come back: share, clone, restore, and nothing reruns. Changed files are refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.pipeline

STUDY = ("--study", "config/tiny.yaml")


def objects(workspace, store: Path) -> dict[str, Path]:
    """Where a remote in a folder keeps the files of the study, by their paths."""
    found = {}
    for stage in yaml.safe_load((workspace.folder / "dvc.lock").read_text())["stages"].values():
        for out in stage["outs"]:
            place = store / "files/md5" / out["md5"][:2] / out["md5"][2:]
            found[out["path"]] = place
            if out["md5"].endswith(".dir"):
                for entry in yaml.safe_load(place.read_text()):
                    name = entry["md5"]
                    path = f"{out['path']}/{entry['relpath']}"
                    found[path] = store / "files/md5" / name[:2] / name[2:]
    return found


@pytest.fixture(scope="module")
def shared(shareable, tmp_path_factory):
    """The finished study, its bundles shared through a remote in a folder beside it."""
    workspace = shareable.copy(tmp_path_factory.mktemp("shared") / "gradsiege")
    store = workspace.folder.parent / "store"
    store.mkdir()
    workspace.run("dvc", "remote", "add", "--local", "--default", "store", str(store))
    said = workspace.run("gradsiege", "share", *STUDY)
    assert f"are at store ({store})" in said
    workspace.run("git", "add", "--all")
    workspace.run("git", "commit", "--quiet", "--message", "share tiny")
    return workspace


def clone_of(shared, folder: Path, store: Path):
    """A clone that knows the remote and has no results."""
    shared.run("git", "clone", "--quiet", ".", str(folder))
    clone = type(shared)(folder)
    clone.run("dvc", "remote", "add", "--local", "--default", "store", str(store))
    return clone


def test_sharing_leaves_results_and_repository_clean(shared):
    assert shared.run("git", "status", "--porcelain") == ""
    assert "up to date" in shared.run("dvc", "status")


def test_everything_comes_back(shared, tmp_path):
    clone = clone_of(shared, tmp_path / "clone", shared.folder.parent / "store")
    assert "and Snakemake takes them as they are" in clone.run("gradsiege", "restore", *STUDY)
    for stage in ("fetch", "prior", "federate", "observe", "attack", "score"):
        assert clone.checksums(stage) == shared.checksums(stage) != {}
    assert clone.planned() == {}
    # The digests are on record again: a change of settings is seen.
    clone.rewrite(
        "config/tiny.yaml", "{name: gi_pip, iterations: 5", "{name: gi_pip, iterations: 6"
    )
    again = {"attack": 1, "attack_cell": 1, "score": 1, "score_cell": 1}
    assert clone.planned() == {**again, "figure": 1, "table": 1, "report": 1}


def test_a_figure_is_drawn_from_restored_bundles_alone(shared, tmp_path):
    clone = clone_of(shared, tmp_path / "clone", shared.folder.parent / "store")
    clone.run("gradsiege", "restore", "images", "checkpoints", "tables", *STUDY)
    figure = "results/tiny/figures/utility_curve"
    assert clone.planned(f"{figure}.pdf") == {"figure": 1}
    clone.snakemake(f"{figure}.pdf")
    drawn = (clone.folder / f"{figure}.csv").read_bytes()
    assert drawn == (shared.folder / f"{figure}.csv").read_bytes()
    assert not (clone.folder / "results/tiny/attack").exists()


def test_what_was_tampered_with_is_refused_by_name_and_never_put_in_place(shared, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(shared.folder.parent / "store", store)
    clone = clone_of(shared, tmp_path / "clone", store)
    # A file with a manifest, and one without. DVC itself takes both.
    for path, place in objects(shared, store).items():
        if path.endswith(("/scores.parquet", "/utility_curve.png")):
            place.chmod(0o644)
            place.write_bytes(place.read_bytes()[:-1] + b"!")
    said = clone.run("gradsiege", "restore", "tables", "figures", *STUDY, check=False)
    assert f"3 files from store ({store}) are not what dvc.lock recorded" in said
    assert "results/tiny/score/digits/convnet/none/late/fedsgd/seed0/scores.parquet" in said
    assert "results/tiny/figures/utility_curve.png (files/md5/" in said
    assert not (clone.folder / "results").exists()


def test_what_is_damaged_here_is_not_shared(shared, tmp_path):
    workspace = shared.copy(tmp_path / "gradsiege")
    cell = "results/tiny/score/digits/convnet/none/late/fedsgd/seed0"
    path = workspace.folder / cell / "scores.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"!")
    said = workspace.run("gradsiege", "share", "tables", *STUDY, check=False)
    assert "nothing was shared" in said
    assert f"{cell}/scores.parquet differs from its manifest.json" in said
    path.write_bytes(whole)
    # A table has no manifest; Snakemake knows that it is older than what it shows.
    table = workspace.folder / "results/tiny/tables/table_attacks.csv"
    table.unlink()
    said = workspace.run("gradsiege", "share", "tables", *STUDY, check=False)
    assert "nothing was shared: tables are not up to date" in said


def test_a_study_without_priors_is_shared_and_comes_back(shareable, tmp_path):
    """The one attack that needs none, on the late model; no figure either, and a study file with a space in its name."""
    workspace = shareable.copy(tmp_path / "my results" / "gradsiege")
    study = "config/my tiny.yaml"
    (workspace.folder / STUDY[1]).rename(workspace.folder / study)
    workspace.rewrite("dvc.yaml", STUDY[1], study)
    text = yaml.safe_load((workspace.folder / study).read_text())
    attack = {key: value for key, value in text["attacks"][0].items() if key != "only"}
    text |= {"priors": [], "attacks": [attack], "training_stages": ["late"]}
    text |= {"figures": ["table_attacks"]}
    (workspace.folder / study).write_text(yaml.safe_dump(text))
    for name in (
        "prior",
        "figures",
        *(f"{stage}/digits/convnet/none/untrained" for stage in ("observe", "attack", "score")),
    ):
        shutil.rmtree(workspace.folder / "results/tiny" / name)
    workspace.snakemake(study=study)
    store = tmp_path / "the store"
    store.mkdir()
    workspace.run("dvc", "remote", "add", "--local", "--default", "store", str(store))
    said = workspace.run("gradsiege", "share", "priors", "--study", study, check=False)
    assert "the study tiny has no priors; it has images, checkpoints" in said
    workspace.run("gradsiege", "share", "--study", study)
    assert "up to date" in workspace.run("dvc", "status")
    # Shared twice, nothing changes; one bundle by name, with the folders of the others away.
    before = (workspace.folder / "dvc.lock").read_bytes()
    shutil.rmtree(workspace.folder / "results/tiny/prior")
    workspace.run("gradsiege", "share", "tables", "--study", study)
    assert (workspace.folder / "dvc.lock").read_bytes() == before
    workspace.run("git", "add", "--all")
    workspace.run("git", "commit", "--quiet", "--message", "share")
    clone = clone_of(workspace, tmp_path / "clone", store)
    clone.run("gradsiege", "restore", "--study", study)
    for stage in ("fetch", "federate", "observe", "attack", "score"):
        assert clone.checksums(stage) == workspace.checksums(stage) != {}
    assert clone.planned(study=study) == {}
    assert "Every cell is there," in clone.run("gradsiege", "verify", "--study", study)
