"""A study runs wherever its file, its data and the repository lie: nothing in a path is read by a shell."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from published import picture

pytestmark = pytest.mark.pipeline
ROOT = Path(__file__).resolve().parents[2]
STUDY = {
    "study": "small",
    "victims": 4,
    "datasets": [
        {
            "name": "image_folder",
            "id": "mine",
            "size": 16,
            "parameters": {"path": "my pictures"},
            "counts": {"train": 12, "test": 6, "aux": 6, "public": 4, "tune": 2, "victims": 4},
        }
    ],
    "models": ["lenet"],
    "defenses": ["none"],
    "federation": {"clients": 2, "clients_per_round": 2, "rounds": 2, "early_round": 1},
    "training_stages": ["late"],
    "protocols": ["fedsgd"],
    "threat_models": [{"id": "labels_inferred"}],
    "attacks": [{"name": "inverting_gradients", "iterations": 3}],
    "figures": ["gallery", "table_attacks"],
}


@pytest.fixture
def elsewhere(clone, tmp_path):
    """The repository below one awkward folder, a study file below a second, its pictures below a third."""
    workspace = clone.copy(tmp_path / "it's a dir; $HOME & é" / "gradsiege")
    data = tmp_path / "it's my data"
    for number in range(60):
        for kind in ("an ant", "bee"):
            picture(data / f"my pictures/{kind}/{number}.png", number, (16, 16))
    workspace.environment = {"GRADSIEGE_DATA": str(data)}
    return workspace


def write(file) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(STUDY))
    return str(file)


def test_a_whole_study_below_a_folder_with_an_apostrophe(elsewhere, tmp_path):
    study = write(tmp_path / "don't panic/my study.yaml")
    assert "All done." in elsewhere.snakemake(study=study)
    results = elsewhere.folder / "results/small"
    manifests = [json.loads(path.read_text()) for path in results.rglob("manifest.json")]
    assert {found["status"] for found in manifests} == {"complete"}
    assert len(manifests) == 5
    # The command that the report shows can be copied into a shell.
    assert "--config &#x27;study=" in (results / "report.html").read_text().replace(
        "&#39;", "&#x27;"
    )
    for path in (results / "figures").glob("gallery.*"):
        path.unlink()
    figure = "results/small/figures/gallery.pdf"
    assert elsewhere.planned(figure, study=study) == {"figure": 1}
    elsewhere.snakemake(figure, study=study)
    assert (elsewhere.folder / figure).stat().st_size
    elsewhere.run("gradsiege", "verify", "--study", study)
    assert elsewhere.planned(study=study) == {}


def test_a_study_file_of_any_name_is_taken_as_it_is_typed(elsewhere):
    """Snakemake reads what --config gives as YAML, and formats braces in commands."""
    name = "a: b {x} $HOME & z; #1 `id` größe.yaml"
    write(elsewhere.folder / name)
    target = "results/small/fetch/mine/card.json"
    assert "2 of 2 steps (100%) done" in elsewhere.snakemake(target, study=name)
    write(elsewhere.folder / "123")
    assert "Nothing to be done" in elsewhere.snakemake(target, study="123")


@pytest.mark.parametrize("name", ["a\\b.yaml", "a\nb.yaml", "it's $5.yaml", "'\".yaml"])
def test_a_path_that_jobs_cannot_be_given_is_one_sentence(clone, tmp_path, name):
    said = clone.snakemake("--dry-run", study=write(tmp_path / name), check=False)
    assert "cannot be handed to jobs: rename it" in said
    assert "Traceback" not in said


def test_a_repository_below_braces_is_refused_in_one_sentence(clone, tmp_path):
    workspace = clone.copy(tmp_path / "{x}" / "gradsiege")
    said = workspace.run("snakemake", "--dry-run", check=False)
    assert "Snakemake takes the braces in" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("target", ["reproduce", "keep"])
def test_make_hands_a_study_on_as_it_is_given(target, tmp_path):
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/.complete").touch()
    for name in ("Makefile", "requirements.lock", "requirements-lpips.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
        os.utime(tmp_path / name, (0, 0))
    name = 'it\'s $my "study".yaml'
    command = ["make", "--dry-run", target, f"STUDY={name}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    # The roadmap and the table of costs are made of all studies.
    of_all = ("docs.pages.roadmap", "benchmarks.costs_table")
    of_study = [line for line in done.stdout.splitlines() if not line.endswith(of_all)]
    assert of_study
    for line in of_study:
        assert name in shlex.split(line)[-1]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "workflow/rules").glob("*.smk")), ids=lambda path: path.stem
)
def test_every_rule_quotes_what_it_gives_to_a_shell(path):
    """The time budget is a piece of shell."""
    commands = re.findall(r"^    shell:\n((?:        .+\n)+)", path.read_text(), re.MULTILINE)
    assert commands or path.stem == "common"
    for command in commands:
        given = set(re.findall(r"{([^}]+)}", command)) - {"params.budget"}
        assert all(name.endswith(":q") for name in given), given
