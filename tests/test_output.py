"""A reader who leaves, a full or closed output, a terminal without UTF-8, and folders that cannot be written to."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gradsiege import cli
from gradsiege.errors import refused_by_machine

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-c", "from gradsiege.cli import main; main()"]
# Verbs that print without having run anything; the usage error is printed to standard error.
PRINTING = [["list", "attacks"], ["list"], ["--help"], ["--version"], ["plan"], ["list", "--help"]]


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), **changes}


def run_into_closed_pipe(arguments: list[str], *, both: bool = False) -> tuple[int, str]:
    """Run a command whose reader left before the first byte; return code and standard error."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, *arguments],
        stdout=writing,
        stderr=writing if both else subprocess.PIPE,
        env=environment(),
        cwd=ROOT,
        timeout=300,
    )
    os.close(writing)
    return done.returncode, "" if both else done.stderr.decode()


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_a_reader_who_leaves_ends_a_command_as_a_signal_would(arguments: list[str]) -> None:
    assert run_into_closed_pipe(arguments) == (141, "")


def test_a_failed_command_keeps_its_code() -> None:
    assert run_into_closed_pipe(["plan", "--study", "nosuch.yaml"], both=True) == (3, "")
    assert run_into_closed_pipe(["nosuch"], both=True) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["--version"], ["list", "attacks"]], ids=" ".join)
def test_a_full_output_is_one_sentence(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, env=environment(), cwd=ROOT
        )
    assert done.returncode == 4
    assert done.stderr.decode().count("\n") == 1
    assert b"No space left on device" in done.stderr


def test_a_closed_output_is_no_defect() -> None:
    line = f'exec "{sys.executable}" -c "from gradsiege.cli import main; main()" list attacks >&-'
    done = subprocess.run(["sh", "-c", line], stderr=subprocess.PIPE, env=environment(), cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    "narrow",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["PYTHONIOENCODING", "LC_ALL"],
)
def test_a_terminal_without_utf_8_shows_escapes(narrow: dict[str, str]) -> None:
    code = (
        "import typer\nfrom gradsiege import cli\n"
        "@cli.app.command()\ndef tell() -> None:\n"
        "    typer.echo('caf\\xe9 \\u2212 \\udce9')\n    print('caf\\xe9 \\u2212 \\udce9')\n"
        "cli.main(['tell'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=environment(**narrow), cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.endswith(b"caf\\xe9 \\u2212 \\udce9\n")


def test_what_no_file_can_hold_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(**_: object) -> None:
        "a class called caf\udce9".encode()

    monkeypatch.setattr(cli, "app", write)
    with pytest.raises(SystemExit) as leaving:
        cli.main([])
    assert leaving.value.code == 4
    assert capsys.readouterr().err == (
        "gradsiege: error: 'a class called caf\\udce9' is not valid text; rename what bears it\n"
    )


def test_no_folder_for_temporary_files_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere/a", "/nowhere/b"])
    monkeypatch.setattr(cli, "app", lambda **_: tempfile.gettempdir())
    with pytest.raises(SystemExit) as leaving:
        cli.main([])
    assert leaving.value.code == 4
    said = capsys.readouterr().err
    assert "no folder for temporary files can be written to" in said
    assert "TMPDIR" in said


@pytest.mark.parametrize(
    "variable", ["HOME", "XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR", "MPLCONFIGDIR", "TMPDIR"]
)
def test_a_cache_folder_that_leads_nowhere_is_named(
    variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing = tmp_path / "gone" / "caches"
    error = FileNotFoundError(errno.ENOENT, "No such file or directory", str(missing.parent))
    monkeypatch.setenv(variable, str(missing))
    assert f"Set {variable}, which leads there" in refused_by_machine(error)
    missing.mkdir(parents=True)
    assert refused_by_machine(error) == ""
    elsewhere = FileNotFoundError(errno.ENOENT, "No such file or directory", "/elsewhere")
    assert refused_by_machine(elsewhere) == ""


@pytest.mark.parametrize("variable", ["HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR", "TMPDIR"])
def test_verbs_that_look_work_without_a_home(variable: str) -> None:
    done = subprocess.run(
        [*COMMAND, "plan"],
        capture_output=True,
        env=environment(**{variable: "/dev/null/nowhere"}),
        cwd=ROOT,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, b"")
