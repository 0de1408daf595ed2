"""The command line: fast to start, every verb with an example, every way to fail with its own code."""

from __future__ import annotations

import errno
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import typer
import yaml
from typer.testing import CliRunner

from gradsiege import __version__, catalogue
from gradsiege import cli as command_line
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
from gradsiege.pipeline.stage import STAGES
from gradsiege.study import FIXED, Study, load

Finished = tuple[Study, Path]
Verb = Callable[..., int]
HEAVY = (
    "torch",
    "pandas",
    "numpy",
    "matplotlib",
    "skimage",
    "sklearn",
    "mlflow",
    "pyarrow",
    "scipy",
)
COMMANDS = typer.main.get_command(command_line.app).commands
QUICK = Path(__file__).parents[1] / "config" / "quick.yaml"
KEY = "digits/lenet/none/untrained/fedsgd/seed0"
ATTACK = f"{KEY}/labels_inferred/inverting_gradients"


@pytest.mark.parametrize(
    "code",
    [
        "import gradsiege",
        "from gradsiege.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit: pass",
        "from gradsiege.cli import main\ntry:\n    main(['list', 'attacks'])\nexcept SystemExit: pass",
        f"from gradsiege.cli import main\ntry:\n    main(['plan', '--study', {str(QUICK)!r}])\n"
        "except SystemExit: pass",
    ],
    ids=["import", "help", "list", "plan"],
)
def test_nothing_heavy_is_loaded(code: str) -> None:
    code += f"\nimport sys\nprint('LOADED', [name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "gradsiege", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"gradsiege {__version__}\n"


def test_there_is_a_verb_for_every_stage() -> None:
    others = {"publish", "list", "plan", "doctor", "verify", "track"}
    assert set(COMMANDS) >= set(STAGES) | others
    stages = [name for name in COMMANDS if name in STAGES]
    assert stages == list(STAGES), "the verbs stand in the order of the stages"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_verb_explains_itself_with_an_example(name: str) -> None:
    shown = CliRunner().invoke(command_line.app, [name, "--help"])
    assert shown.exit_code == 0
    assert f"Example: gradsiege {name}" in " ".join(shown.stdout.split())
    assert COMMANDS[name].help


def test_the_examples_name_cells_of_the_default_study() -> None:
    study = load(QUICK)
    for name, command in COMMANDS.items():
        if name not in STAGES or name == "shadow":
            continue
        key = re.search(rf"`gradsiege {name} (\S+)`", command.epilog or "")
        assert key, name
        parse_key(name, key[1], study)


@pytest.mark.parametrize("kind", [*catalogue.KINDS, *FIXED])
def test_list_prints_every_name_of_a_kind(
    kind: str, verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verb("list", kind) == 0
    shown = capsys.readouterr().out
    names = FIXED[kind] if kind in FIXED else catalogue.entries(kind)
    for name in names:
        assert re.search(rf"^{name}\b", shown, re.MULTILINE)
    for entry in catalogue.entries(kind).values() if kind not in FIXED else ():
        for key in entry.parameters:
            assert f"    {key}: " in shown


def test_list_without_a_kind_prints_the_kinds(
    verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verb("list") == 0
    assert capsys.readouterr().out.split() == [*catalogue.KINDS, *FIXED]


def test_a_wrong_kind_is_wrong_use(verb: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    assert verb("list", "atacks") == 2
    assert "did you mean 'attacks'?" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_produced(shell: str) -> None:
    # The shell is found by looking at the parent process; the variable is what the script itself sets.
    shown = CliRunner().invoke(
        command_line.app, prog_name="gradsiege", env={"_GRADSIEGE_COMPLETE": f"source_{shell}"}
    )
    assert "_GRADSIEGE_COMPLETE" in shown.stdout
    assert "gradsiege" in shown.stdout


def test_completion_knows_the_verbs() -> None:
    environment = {
        "_GRADSIEGE_COMPLETE": "complete_bash",
        "COMP_WORDS": "gradsiege fe",
        "COMP_CWORD": "1",
    }
    shown = CliRunner().invoke(command_line.app, prog_name="gradsiege", env=environment)
    assert set(shown.stdout.split()) == {"fetch", "federate"}


# ---- exit codes ----


def test_codes_are_distinct_and_documented() -> None:
    import gradsiege.errors

    kinds = GradSiegeError.__subclasses__()
    codes = [kind.exit_code for kind in kinds]
    assert len(set(codes)) == len(codes)
    for kind in kinds:
        assert f" {kind.exit_code} " in command_line.EXIT_CODES
        documented = rf"^{kind.exit_code} .*\(`{kind.__name__}`\)$"
        assert re.search(documented, gradsiege.errors.__doc__ or "", re.MULTILINE)
    shown = CliRunner().invoke(command_line.app, ["--help"]).stdout
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
    said = capsys.readouterr().err
    assert said.startswith("gradsiege: error: results/x: Permission denied. See to it")
    assert said.count("\n") == 1


def test_a_defect_is_not_hidden(verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("gradsiege.study.load", fail)
    with pytest.raises(ZeroDivisionError):
        verb("plan")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["fetch"],
        ["fetch", "photos", "--nonsense"],
        ["fetch", "photos", "--threads", "0"],
        ["fetch", "photos", "--time-budget", "soon"],
    ],
)
def test_wrong_use_is_2(arguments: list[str], verb: Verb) -> None:
    assert verb(*arguments) == 2


@pytest.mark.parametrize(
    ("verb_name", "option"),
    [
        ("fetch", "--time-budget"),
        ("attack", "--time-budget"),
        ("plan", "--shard-minutes"),
        ("fetch", "--threads"),
        ("mend", "--cores"),
    ],
)
@pytest.mark.parametrize("value", ["-5", "nan", "inf", "-inf", "1e400", "soon"])
def test_a_number_without_sense_is_refused_with_its_option(
    verb_name: str, option: str, value: str, verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = ["photos"] if verb_name in STAGES else []
    assert verb(verb_name, *cell, f"{option}={value}") == 2
    assert option in capsys.readouterr().err


def test_every_number_among_the_options_is_bounded() -> None:
    bounded = set()
    for registered in command_line.app.registered_commands:
        assert registered.callback
        for name, kind in get_type_hints(registered.callback, include_extras=True).items():
            types = {*get_args(get_args(kind)[0]), get_args(kind)[0]} if get_args(kind) else set()
            if not types & {int, float}:
                continue
            option = get_args(kind)[1]
            bounded.add(name)
            # The bounds of typer let nan pass, and do not show what was given.
            for value in (math.nan, math.inf, -1.0):
                with pytest.raises(typer.BadParameter):
                    option.callback(value)
    assert bounded == {"time_budget", "threads", "shard_minutes", "cores"}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_root_that_is_not_there_is_no_study_that_lost_everything(
    name: str, verb: Verb, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if all(parameter.name != "root" for parameter in COMMANDS[name].params):
        return
    assert (
        verb(name, *(["x"] if name in (*STAGES, "publish") else []), "--root", tmp_path / "gone")
        == 2
    )
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "is not a folder; name the one that holds results/" in said
    assert not (tmp_path / "gone").exists()


def test_download_into_a_place_that_takes_no_folders_is_one_sentence(
    verb: Verb, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (Path("/proc/gradsiege"), tmp_path / "file"):
        assert verb("download", "cifar10", "--to", place) == ArtifactError.exit_code
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("gradsiege: error: ")
        assert str(place) in last


def test_an_interrupted_command_says_so(
    verb: Verb, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gradsiege.study.load", interrupt)
    assert verb("plan") == 130
    assert capsys.readouterr().err == (
        "gradsiege: interrupted; finished cells are kept. Run the same command again to go on.\n"
    )
    assert " 130 " in command_line.EXIT_CODES


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


def test_a_stage_that_does_not_exist_yet_is_5(
    verb: Verb, finished_study: Finished, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, root = finished_study
    monkeypatch.setitem(sys.modules, "gradsiege.stages.shadow", None)
    arguments = ("--study", root / "tiny.yaml", "--root", tmp_path)
    assert verb("shadow", "digits/seed0", *arguments) == 5


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


# ---- the truth ----


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
        said = " ".join(capsys.readouterr().err.replace("│", " ").split())
        assert words in said
        assert "--observation" in said
        assert "mend" not in said
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


# ---- finished cells ----

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


# ---- devices and engines ----

WRONG = {
    "unknown device": ("--device", "gpu", "device 'gpu' is not there; choose one of auto, cpu"),
    "no GPU": ("--device", "cuda", "device 'cuda' is not there; choose one of auto, cpu"),
    "no such GPU": (
        "--device",
        "cuda:99",
        "device 'cuda:99' is not there; choose one of auto, cpu",
    ),
    "unknown engine": ("--engine", "fast", "unknown engine 'fast'; choose one of measured, loop"),
    "engine of a GPU": ("--engine", "cuda_graph", "engine 'cuda_graph' runs on a GPU alone"),
    "other engine of a GPU": ("--engine", "cuda_graph_vmap", "runs on a GPU alone"),
}


@pytest.mark.parametrize("by", ["option", "environment", "shard"])
@pytest.mark.parametrize("sort", WRONG)
def test_a_device_or_engine_that_is_not_there_is_one_sentence_and_touches_nothing(
    sort: str,
    by: str,
    verb: Verb,
    finished_study: Finished,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import torch

    _, root = finished_study
    option, value, sentence = WRONG[sort]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    given = [option, value]
    if by == "environment":
        monkeypatch.setenv(option.replace("--", "GRADSIEGE_").upper(), value)
        given = []
    staged = ["--staged"] if by == "shard" else []
    common = ("--study", root / "tiny.yaml", "--root", root)
    assert verb("attack", ATTACK, *common, *given, *staged) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("gradsiege: error: ")
    assert sentence in said
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_no_other_verb_takes_a_device_or_an_engine() -> None:
    """One that begins to must check it as `attack` does."""
    takes = {
        name
        for name, command in COMMANDS.items()
        for parameter in command.params
        if parameter.name in ("device", "engine")
    }
    assert takes == {"attack"}
