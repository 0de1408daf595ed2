"""Every way to fail has one line and a code of its own."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest
import yaml
from command_line import ATTACK, KEY, Finished, Verb
from typer.testing import CliRunner

from gradsiege import cli
from gradsiege.errors import (
    ArtifactError,
    GradSiegeError,
    MissingError,
    StoppedEarlyError,
    StudyError,
    ThreatModelError,
    TrackingError,
    UsageError,
)
from gradsiege.pipeline.cells import parse_key


def test_codes_are_distinct_and_documented() -> None:
    import gradsiege.errors

    kinds = GradSiegeError.__subclasses__()
    codes = [kind.exit_code for kind in kinds]
    assert len(set(codes)) == len(codes)
    for kind in kinds:
        assert f" {kind.exit_code} " in cli.EXIT_CODES
        documented = rf"^{kind.exit_code} .*\(`{kind.__name__}`\)$"
        assert re.search(documented, gradsiege.errors.__doc__ or "", re.MULTILINE)
    shown = CliRunner().invoke(cli.app, ["--help"]).stdout
    assert "75 stopped early" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError, 2),
        (StudyError, 3),
        (ArtifactError, 4),
        (MissingError, 5),
        (ThreatModelError, 6),
        (TrackingError, 7),
        (StoppedEarlyError, 75),
    ],
)
def test_an_expected_error_is_one_line_and_its_code(
    error: type[GradSiegeError],
    code: int,
    verb: Verb,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(path: Path) -> None:
        raise error("what is wrong and what to do")

    monkeypatch.setattr("gradsiege.study.load", fail)
    assert verb("plan") == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert shown.err.endswith("what is wrong and what to do\n")


def test_what_the_machine_refuses_is_one_line_and_4(
    verb: Verb, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "results/x")

    monkeypatch.setattr("gradsiege.study.load", refuse)
    assert verb("plan") == ArtifactError.exit_code
    message = capsys.readouterr().err
    assert message.startswith("gradsiege: error: results/x: Permission denied. See to it")
    assert message.count("\n") == 1


def test_a_defect_is_not_hidden(verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("gradsiege.study.load", fail)
    with pytest.raises(ZeroDivisionError):
        verb("plan")


def test_an_interrupted_command_says_so(
    verb: Verb, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gradsiege.study.load", interrupt)
    assert verb("plan") == 130
    assert capsys.readouterr().err == (
        "gradsiege: interrupted; what is finished is kept. Run the same command again to go on.\n"
    )
    assert " 130 " in cli.EXIT_CODES


def test_a_wrong_study_or_key_is_3_before_anything_is_loaded(
    verb: Verb, finished_study: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, root = finished_study
    assert verb("plan", "--study", tmp_path / "none.yaml") == 3
    assert "does not exist" in capsys.readouterr().err
    (tmp_path / "bad.yaml").write_text("victms: 3")
    assert verb("fetch", "digits", "--study", tmp_path / "bad.yaml") == 3
    assert "did you mean 'victims'?" in capsys.readouterr().err
    assert verb("fetch", "digit", "--study", root / "tiny.yaml", "--root", root) == 3
    assert "did you mean 'digits'?" in capsys.readouterr().err


def test_a_missing_input_is_4_and_names_the_stage_to_run(
    verb: Verb, finished_study: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, root = finished_study
    assert verb("attack", ATTACK, "--study", root / "tiny.yaml", "--root", tmp_path) == 4
    error = capsys.readouterr().err
    assert "observation.safetensors does not exist" in error
    assert not list(tmp_path.rglob("manifest.json"))


def test_a_damaged_input_is_4(
    verb: Verb, study_copy: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    study, root = study_copy
    path = parse_key("observe", KEY, study).folder(study, root) / "observation.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert verb("attack", ATTACK, "--study", root / "tiny.yaml", "--root", root) == 4
    assert f"{path} differs from its manifest.json" in capsys.readouterr().err


def test_a_narrow_threat_model_is_6(
    verb: Verb, study_copy: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    _, root = study_copy
    raw = yaml.safe_load((root / "tiny.yaml").read_text())
    raw["threat_models"][0]["auxiliary"] = False
    (root / "tiny.yaml").write_text(yaml.safe_dump(raw))
    key = ATTACK.replace("inverting_gradients", "gi_pip")
    assert verb("attack", key, "--study", root / "tiny.yaml", "--root", root) == 6
    assert "gi_pip needs prior:autoencoder" in capsys.readouterr().err


def test_verify_is_4_when_something_is_missing(
    verb: Verb, finished_study: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, root = finished_study
    assert verb("verify", "--study", root / "tiny.yaml", "--root", root) == 0
    assert verb("verify", "--study", root / "tiny.yaml", "--root", tmp_path) == 4
    assert "missing" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["results", "scratch"])
@pytest.mark.parametrize("command", [("verify",), ("plan",), ("attack", ATTACK)])
def test_a_file_in_the_place_of_the_results_is_named(
    name: str,
    command: tuple[str, ...],
    finished_study: Finished,
    verb: Verb,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, root = finished_study
    (tmp_path / name).write_text("")
    assert verb(*command, "--study", root / "tiny.yaml", "--root", tmp_path) == 2
    assert f"{tmp_path / name} is a file, where the folder of that name belongs" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "name",
    [
        "results/tiny",
        "results/tiny/attack",
        "results/tiny/attack/digits",
        "results/tiny/tables",
        "results/tiny/logs",
        "results/tiny/logs/attack/digits",
        "results/tiny/benchmarks",
        "scratch/staged",
        "scratch/staged/tiny/computed",
        "scratch/staged/tiny/replaced/attack",
        "scratch/aside/tiny",
        "scratch/shards/tiny",
    ],
)
def test_a_file_in_the_place_of_a_folder_of_the_study_is_named(
    name: str,
    finished_study: Finished,
    verb: Verb,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before anything runs or is changed; a link that leads nowhere as well."""
    place = tmp_path / name
    place.parent.mkdir(parents=True)
    options = ("--study", finished_study[1] / "tiny.yaml", "--root", tmp_path)
    place.write_text("mine")
    assert verb("mend", *options) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert f"{place} is a file, where the folder of that name belongs; move it away" in said
    assert place.read_text() == "mine"
    place.unlink()
    place.symlink_to("away")
    assert verb("verify", *options) == 2
    assert f"{place} is not a folder, where the folder of that name" in capsys.readouterr().err
