"""The command line explains itself: fast, every verb with an example, every name with its parameters."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from command_line import COMMANDS, QUICK, Verb
from typer.testing import CliRunner

from gradsiege import __version__, catalogue, cli
from gradsiege.pipeline.cells import parse_key
from gradsiege.pipeline.stage import STAGES
from gradsiege.study import FIXED, load

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
    shown = CliRunner().invoke(cli.app, [name, "--help"])
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
        cli.app, prog_name="gradsiege", env={"_GRADSIEGE_COMPLETE": f"source_{shell}"}
    )
    assert "_GRADSIEGE_COMPLETE" in shown.stdout
    assert "gradsiege" in shown.stdout


def test_completion_knows_the_verbs() -> None:
    environment = {
        "_GRADSIEGE_COMPLETE": "complete_bash",
        "COMP_WORDS": "gradsiege fe",
        "COMP_CWORD": "1",
    }
    shown = CliRunner().invoke(cli.app, prog_name="gradsiege", env=environment)
    assert set(shown.stdout.split()) == {"fetch", "federate"}
