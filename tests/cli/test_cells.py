"""Verbs on finished cells: the truth stays sealed, and a refused verb costs nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import ATTACK, KEY, Finished, Verb

from gradsiege.errors import (
    MissingError,
)
from gradsiege.pipeline.cells import parse_key


def test_an_attack_that_is_pointed_at_the_truth_fails(
    verb: Verb, study_copy: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    study, root = study_copy
    truth = parse_key("observe", KEY, study).folder(study, root) / "truth.safetensors"
    finished = parse_key("attack", ATTACK, study).folder(study, root)
    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    common = ("--study", root / "tiny.yaml", "--root", root, "--to", root / "elsewhere")
    assert verb("attack", ATTACK, *common, "--observation", truth) == 4
    assert "holds 'truth', but 'observation' is needed here" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before


def test_a_truth_under_another_name_fails_too(
    verb: Verb, study_copy: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    study, root = study_copy
    folder = parse_key("observe", KEY, study).folder(study, root)
    (folder / "truth.safetensors").replace(folder / "observation.safetensors")
    common = ("--study", root / "tiny.yaml", "--root", root)
    assert verb("attack", ATTACK, *common) == 4
    assert "differs from its manifest.json" in capsys.readouterr().err


def test_a_file_that_is_no_observation_is_refused_by_its_option(
    verb: Verb, study_copy: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, root = study_copy
    common = ("--study", root / "tiny.yaml", "--root", root, "--to", tmp_path / "elsewhere")
    (tmp_path / "passwd").write_text("mine")
    for given, code, words in (
        (tmp_path, 2, "is not a file"),
        (tmp_path / "gone", 2, "is not a file"),
        (tmp_path / "passwd", 4, "holds no manifest.json: its job has not finished. Give an"),
    ):
        assert verb("attack", ATTACK, *common, "--observation", given) == code
        message = " ".join(capsys.readouterr().err.replace("│", " ").split())
        assert words in message
        assert "--observation" in message
        assert "mend" not in message
    assert not (tmp_path / "elsewhere").exists()


def test_the_result_of_another_observation_has_a_folder_of_its_own(
    verb: Verb, study_copy: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    from gradsiege.artifacts import read_manifest, verify_folder

    study, root = study_copy
    other = KEY.replace("untrained", "late")
    observation = parse_key("observe", other, study).folder(study, root) / "observation.safetensors"
    common = ("--study", root / "tiny.yaml", "--root", root)
    given, to = ("--observation", observation), root / "elsewhere"
    assert verb("attack", ATTACK, *common, *given) == 2
    assert verb("attack", ATTACK, *common, *given, "--to", root / "results/mine") == 2
    assert "outside" in capsys.readouterr().err
    assert not to.exists()
    assert verb("attack", ATTACK, *common, *given, "--to", to) == 0
    assert read_manifest(to)["read_instead"]["file"] == "observation.safetensors"
    assert verify_folder(to) == []
    assert verb("attack", ATTACK, *common, *given, "--to", to) == 2, "it would be lost"
    assert verb("score", KEY, *common) == 0
    assert verb("verify", *common) == 0, "the study's own cell is as it was"


# One cell of each stage, and the cell that it cannot do without.
REFUSED = {
    "prior": ("digits/autoencoder/seed0", "fetch", "digits"),
    "federate": ("digits/lenet/none/seed0", "fetch", "digits"),
    "observe": (KEY, "federate", "digits/lenet/none/seed0"),
    "attack": (ATTACK, "observe", KEY),
    "score": (KEY, "attack", ATTACK),
}


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("stage", REFUSED)
def test_a_verb_that_is_refused_costs_no_finished_cell(
    stage: str, verb: Verb, study_copy: Finished
) -> None:
    study, root = study_copy
    key, upstream, needed = REFUSED[stage]
    finished = parse_key(stage, key, study).folder(study, root)
    before = held(finished)
    for path in parse_key(upstream, needed, study).folder(study, root).glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    assert verb(stage, key, "--study", root / "tiny.yaml", "--root", root) == 4
    assert held(finished) == before


def test_a_source_that_is_gone_costs_no_finished_images(
    verb: Verb, study_copy: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*arguments: object) -> None:
        raise MissingError("the images are not on this machine")

    study, root = study_copy
    finished = parse_key("fetch", "digits", study).folder(study, root)
    before = held(finished)
    monkeypatch.setattr("gradsiege.stages.fetch.prepare", gone)
    assert verb("fetch", "digits", "--study", root / "tiny.yaml", "--root", root) == 5
    assert held(finished) == before
