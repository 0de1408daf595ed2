"""`gradsiege crate`: read back by its library, it is a Workflow Run RO-Crate with the study's own files."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from rocrate.rocrate import ROCrate

from gradsiege import artifacts
from gradsiege.pipeline.cells import cells
from gradsiege.pipeline.drawings import undrawn
from gradsiege.study import Study, load

Finished = tuple[Study, Path]
Verb = Callable[..., int]
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def packed(
    finished_study: Finished, verb: Verb, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The crate of the tiny study, and the root of what was packed."""
    import shutil

    root = tmp_path_factory.mktemp("packed") / "root"
    shutil.copytree(finished_study[1], root)
    where = ("--study", root / "tiny.yaml", "--root", root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        assert verb("publish", *finished_study[0].figures, "report", *where) == 0
        assert verb("crate", *where) == 0
    return root / "results" / "tiny" / "crate.zip", root


@pytest.fixture(scope="module")
def opened(packed: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("crate")
    with zipfile.ZipFile(packed[0]) as archive:
        archive.extractall(folder)
    return ROCrate(folder)


def test_what_the_profile_requires(opened: Any) -> None:
    """Workflow Run Crate 0.5: a main workflow, one action that ran it, what went in, what came out, when."""
    root, workflow = opened.root_dataset, opened.mainEntity
    profiles = {entity.id for entity in root["conformsTo"]}
    assert {f"https://w3id.org/ro/wfrun/{kind}/0.5" for kind in ("process", "workflow")} < profiles
    assert all(opened.get(profile).type == "CreativeWork" for profile in profiles)
    assert {"File", "SoftwareSourceCode", "ComputationalWorkflow"} <= set(workflow.type)
    assert workflow["programmingLanguage"]["name"] == "Snakemake"
    actions = opened.get_by_type("CreateAction")
    assert len(actions) == 1
    (action,) = actions
    assert root["mentions"] == action
    assert action["instrument"] is workflow
    assert action["startTime"] < action["endTime"] == root["datePublished"]
    assert action["actionStatus"] == "http://schema.org/CompletedActionStatus"
    assert workflow["version"] in action["description"]
    assert root["author"]["name"] in (REPOSITORY / "CITATION.cff").read_text()
    assert opened.get("README.md")["about"] is root
    assert not [
        entity.id
        for entity in opened.get_entities()
        if "File" in entity.type and not entity.get("encodingFormat")
    ]
    assert root["license"].id == "https://spdx.org/licenses/Apache-2.0"
    for field in ("name", "description"):
        assert root[field]
    for slot, value in (("input", "config/tiny.yaml"), ("output", "results/tiny/report.html")):
        parameter = workflow[slot]
        assert parameter.type == "FormalParameter"
        assert opened.get(value)["exampleOfWork"] == parameter
        assert opened.get(value) in action[{"input": "object", "output": "result"}[slot]]


def test_files_software_and_data_are_those_of_the_run(
    opened: Any, packed: tuple[Path, Path], finished_study: Finished
) -> None:
    study, _ = finished_study
    action = opened.get("#run")
    results = {entity.id for entity in action["result"]}
    assert {
        f"results/tiny/figures/privacy_utility.{kind}" for kind in ("csv", "pdf", "svg")
    } < results
    rows = [item for item in results if item.endswith((".parquet", "manifest.json"))]
    of_stages = cells(study)
    assert len(rows) == 2 * (len(of_stages["score"]) + len(of_stages["federate"]))
    manifest = json.loads(
        (packed[1] / next(item for item in rows if "manifest" in item)).read_text()
    )
    software = {
        item["name"]: item["softwareVersion"] for item in opened.mainEntity["softwareRequirements"]
    }
    assert software.items() >= manifest["environment"]["versions"].items()
    assert opened.get("#data-digits")["license"]
    assert opened.get("#data-digits") in action["object"]


def test_every_hash_is_that_of_the_file(opened: Any) -> None:
    files = [entity for entity in opened.data_entities if "sha256" in entity.properties()]
    assert {"Snakefile", "requirements.lock", "workflow/rules/attack.smk"} < {f.id for f in files}
    for entity in files:
        content = (Path(opened.source) / unquote(entity.id)).read_bytes()
        assert entity["sha256"] == hashlib.sha256(content).hexdigest(), entity.id
        assert int(entity["contentSize"]) == len(content)


def test_the_same_study_gives_the_same_bytes(
    packed: tuple[Path, Path], verb: Verb, tmp_path: Path
) -> None:
    path, root = packed
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        again = ("--study", root / "tiny.yaml", "--root", root, "--to", tmp_path / "again.zip")
        assert verb("crate", *again) == 0
    assert (tmp_path / "again.zip").read_bytes() == path.read_bytes()


@pytest.fixture
def refused(
    study_copy: Finished,
    verb: Verb,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[], str]:
    """A function that packs the copied study, which must be refused, and returns the words."""
    root = study_copy[1]
    monkeypatch.chdir(REPOSITORY)

    def pack() -> str:
        assert verb("crate", "--study", root / "tiny.yaml", "--root", root) == 4
        assert not (root / "results/tiny/crate.zip").exists()
        return capsys.readouterr().err

    return pack


def test_only_a_whole_run_is_packed(study_copy: Finished, refused: Callable[[], str]) -> None:
    study, root = study_copy
    assert (
        f"gallery.pdf does not exist. A crate records a whole run. `gradsiege mend --study {root}/tiny.yaml --root {root}` makes it anew"
        in refused()
    )
    lost = cells(study)["score"][0]
    (lost.folder(study, root) / artifacts.MANIFEST).unlink()
    assert (
        f"1 of 20 cells of study tiny are not finished and sound, such as score {lost.key}"
        in refused()
    )


def test_without_the_library_it_says_what_to_install(
    packed: tuple[Path, Path],
    verb: Verb,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "rocrate", None)
    monkeypatch.chdir(REPOSITORY)
    assert verb("crate", "--study", packed[1] / "tiny.yaml", "--root", packed[1]) == 5
    assert ".[pipeline]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("root/results/tiny/report.html", "choose a place outside"),
        ("root/results/new.zip", "choose a place outside"),
        ("report.html", "is there, and is not a crate"),
        ("other.zip", "is there, and is not a crate"),
        ("folder", "is there, and is not a file"),
        ("pipe", "is there, and is not a file"),
    ],
)
def test_nothing_but_a_crate_is_replaced(
    packed: tuple[Path, Path],
    verb: Verb,
    tmp_path: Path,
    place: str,
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(REPOSITORY)
    (tmp_path / "root").symlink_to(packed[1])
    (tmp_path / "report.html").write_text("mine")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a", "mine")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = held(tmp_path) | held(packed[1])
    where = ("--study", packed[1] / "tiny.yaml", "--root", packed[1])
    assert verb("crate", *where, "--to", tmp_path / place) == 2
    assert words in capsys.readouterr().err
    assert held(tmp_path) | held(packed[1]) == before
    assert (tmp_path / "pipe").is_fifo()


def held(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_crate_is_replaced(packed: tuple[Path, Path], verb: Verb, tmp_path: Path) -> None:
    where = ("--study", packed[1] / "tiny.yaml", "--root", packed[1])
    (tmp_path / "old.zip").write_bytes(packed[0].read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        assert verb("crate", *where) == 0
        assert verb("crate", *where, "--to", tmp_path / "old.zip") == 0


def test_the_remedy_of_a_damaged_cell_is_said_once(
    study_copy: Finished, refused: Callable[[], str]
) -> None:
    study, root = study_copy
    (cells(study)["score"][0].folder(study, root) / artifacts.MANIFEST).write_text("{")
    message = refused()
    assert message.count("gradsiege mend") == 1
    assert ".." not in message


@pytest.mark.parametrize("stage", ["fetch", "federate", "attack", "score"])
def test_a_run_with_a_damaged_file_is_not_packed(
    stage: str,
    study_copy: Finished,
    refused: Callable[[], str],
) -> None:
    """A crate vouches for what it records, whether it packs the file or lists its cell alone."""
    study, root = study_copy
    artifacts.write_text(root / "results/tiny/report.html", "drawn")
    folder = cells(study)[stage][0].folder(study, root)
    name = next(name for name in artifacts.read_manifest(folder)["files"] if "." in name)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert f"{folder / name} differs from its manifest.json" in refused()


@pytest.mark.parametrize("name", ["figures/gallery.csv", "tables/columns.csv", "report.html"])
def test_a_run_without_a_drawing_is_not_packed(
    name: str,
    study_copy: Finished,
    refused: Callable[[], str],
) -> None:
    """Be it gone, emptied, or a folder of its name."""
    study, root = study_copy
    text = (root / "tiny.yaml").read_text()
    (root / "tiny.yaml").write_text(text.replace("- gallery\n", "- gallery\n- table_attacks\n"))
    study = load(root / "tiny.yaml")
    path = root / "results/tiny" / name
    for drawing in undrawn(study, root).keys() - {path}:
        artifacts.write_text(drawing, "drawn")
    for change, why in (
        (lambda: None, "does not exist"),
        (lambda: path.write_text(""), "is empty"),
        (lambda: (path.unlink(), path.mkdir()), "is not a file"),
    ):
        change()
        assert f"{path} {why}. A crate records a whole run. `gradsiege mend" in refused()
