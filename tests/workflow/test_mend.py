"""One command mends a study, failed reruns lose nothing, and results that were copied are not computed again."""

from __future__ import annotations

import os
import re
import shutil

import pytest
import yaml
from workspaces import NOTHING, Workspace

pytestmark = pytest.mark.pipeline

STUDY = ("--study", "config/few.yaml")
SEEN = "photos/lenet/none/untrained/fedsgd/seed0"
ATTACK = f"attack/{SEEN}/labels_inferred/inverting_gradients"
FEW = {
    "study": "few",
    "victims": 2,
    "datasets": [
        {
            "name": "photos",
            "size": 16,
            "counts": {"train": 12, "test": 6, "aux": 6, "public": 4, "tune": 2, "victims": 4},
        }
    ],
    "models": ["lenet"],
    "defenses": ["none"],
    "federation": {"clients": 2, "clients_per_round": 2, "rounds": 2, "early_round": 1},
    "training_stages": ["untrained"],
    "protocols": ["fedsgd"],
    "threat_models": [{"id": "labels_inferred"}],
    "attacks": [{"name": "inverting_gradients", "iterations": 3}],
    "figures": [],
}


@pytest.fixture(scope="module")
def few(clone, tmp_path_factory):
    """The smallest study, computed by the command that mends studies."""
    workspace = clone.copy(tmp_path_factory.mktemp("few") / "gradsiege")
    (workspace.folder / "config/few.yaml").write_text(yaml.safe_dump(FEW))
    said = workspace.run("gradsiege", "mend", *STUDY, "--cores", "1")
    assert "to compute: 5 cells and what reads them" in said
    assert "5 finished, 0 failed, 0 stale, 0 damaged, 0 missing; 0 foreign" in said
    return workspace


@pytest.fixture
def workspace(few, tmp_path):
    return few.copy(tmp_path / "gradsiege")


def contents(workspace: Workspace) -> dict[str, bytes]:
    """Every file of every cell, manifests included."""
    results = workspace.folder / "results/few"
    stages = ("fetch", "federate", "observe", "attack", "score")
    files = [path for stage in stages for path in (results / stage).rglob("*") if path.is_file()]
    return {str(path.relative_to(results)): path.read_bytes() for path in files}


def bytes_of(workspace: Workspace) -> dict[str, bytes]:
    """The same without manifests, which hold times."""
    return {name: text for name, text in contents(workspace).items() if "manifest" not in name}


def jobs(said: str) -> list[str]:
    """Stages that computed something, in the words of their logs."""
    return [line for line in said.splitlines() if line.endswith(": done")]


def test_a_deleted_cell_is_made_again_by_plain_snakemake_and_nothing_else(workspace):
    before = bytes_of(workspace)
    shutil.rmtree(workspace.folder / f"results/few/{ATTACK}")
    said = workspace.snakemake(study="config/few.yaml")
    assert jobs(said) == [f"{ATTACK.replace('/', ' ', 1)}: done"]
    assert bytes_of(workspace) == before
    assert NOTHING in workspace.snakemake(study="config/few.yaml")


def test_copied_results_are_adopted(few, tmp_path):
    """As `cp -r` leaves them: no times, and nothing that Snakemake remembers."""
    workspace = few.copy(tmp_path / "gradsiege")
    shutil.rmtree(workspace.folder / ".snakemake")
    order = ("score", "attack", "observe", "federate", "fetch")
    for moment, stage in enumerate(order):
        for path in (workspace.folder / "results/few" / stage).rglob("*"):
            os.utime(path, (1e9 + moment, 1e9 + moment))
    os.utime(workspace.folder / "results/few/report.html", (1e9, 1e9))
    assert workspace.planned(study="config/few.yaml") != {}
    before = contents(workspace)
    said = workspace.run("gradsiege", "mend", *STUDY, "--cores", "1")
    assert "Snakemake takes the sound cells as up to date" in said
    assert jobs(said) == []
    assert contents(workspace) == before
    # What no manifest vouches for is drawn again.
    assert "Writing the report" in said
    # Other settings are noticed, although Snakemake has no memory of the old ones.
    workspace.rewrite("config/few.yaml", "iterations: 3", "iterations: 4")
    planned = workspace.planned(study="config/few.yaml")
    assert {"attack", "attack_cell", "score", "score_cell"} <= planned.keys()
    assert "observe" not in planned


def test_damage_is_set_aside_and_made_again(workspace):
    before = bytes_of(workspace)
    path = workspace.folder / f"results/few/observe/{SEEN}/explanation.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    said = workspace.run("gradsiege", "mend", *STUDY, "--cores", "1")
    assert f"to set aside: observe {SEEN}: " in said
    # The bytes are what they were, so that nothing that has read them is computed again.
    assert jobs(said) == [f"observe {SEEN}: done"]
    assert bytes_of(workspace) == before
    assert (workspace.folder / f"scratch/aside/few/observe/{SEEN}.1").is_dir()


def test_what_has_read_other_bytes_is_computed_again(workspace):
    """The observation is made by a program that draws otherwise, and says nothing of it in a version."""
    observe = "src/gradsiege/stages/observe.py"
    shutil.rmtree(workspace.folder / f"results/few/observe/{SEEN}")
    victims = "    observed = run_victims(\n"
    workspace.rewrite(observe, victims, f"    images = 1 - images\n{victims}")
    said = workspace.run("gradsiege", "mend", *STUDY, "--cores", "1")
    computed = [line.split(" ")[0] for line in jobs(said)]
    assert computed == ["observe", "attack", "score"]
    assert "0 stale" in said


FAILURES = {
    "refused": 'from gradsiege.errors import MissingError\n    raise MissingError("no source")',
    "crashed": 'raise RuntimeError("planted")',
}
WORK = {
    "fetch": "stages/fetch.py",
    "federate": "stages/federate.py",
    "observe": "stages/observe.py",
    "attack": "stages/attack.py",
    "score": "stages/score.py",
}


@pytest.mark.parametrize(
    ("stage", "sort"), [("fetch", "refused"), ("attack", "crashed"), ("score", "refused")]
)
def test_a_failed_rerun_leaves_the_finished_cell(stage, sort, workspace):
    """A new version of a stage breaks: the old cells stay, and are not taken for new ones."""
    before = contents(workspace)
    table = workspace.folder / "src/gradsiege/pipeline/stage.py"
    old = table.read_text()
    row = re.search(rf'Stage\(\n +"{stage}",\n.*?version=', old, re.DOTALL)
    assert row
    table.write_text(old[: row.end()] + re.sub(r"^\d+", "100", old[row.end() :]))
    source = workspace.folder / "src/gradsiege" / WORK[stage]
    text = source.read_text()
    head = re.search(rf'^def {stage}\(.*?\n    """.*?"""\n', text, re.DOTALL | re.MULTILINE)
    assert head
    source.write_text(f"{text[: head.end()]}    {FAILURES[sort]}\n{text[head.end() :]}")
    said = workspace.snakemake(study="config/few.yaml", check=False)
    assert "The cell failed; its log says why." in said
    assert contents(workspace) == before
    planned = workspace.planned(study="config/few.yaml")
    assert planned[stage] == planned[f"{stage}_cell"] == 1
    # With the old version back, they are finished.
    source.write_text(text)
    table.write_text(old)
    assert jobs(workspace.snakemake(study="config/few.yaml")) == []
    assert contents(workspace) == before
