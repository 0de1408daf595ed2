"""Snakemake's jobs that take a finished cell to its place can be killed at any point and repeated."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = ("a.safetensors", "b.parquet", "manifest.json")


def prefix(staged: Path) -> str:
    """What the rules put before every command, with another folder of staged cells."""
    text = (ROOT / "workflow/rules/common.smk").read_text(encoding="utf-8")
    found = re.search(r"^shell\.prefix\((.*?)^\)$", text, re.DOTALL | re.MULTILINE)
    assert found
    names = {
        "shlex": shlex,
        "PROGRAMS": shlex.quote(str(Path(sys.executable).parent)),
        "STAGED": str(staged),
    }
    return str(eval(f"({found.group(1)})", names)).format()


def take(folder: Path, before: str = "") -> int:
    """Take the cell `d`; return the exit code."""
    targets = " ".join(str(folder / "place" / name) for name in FILES)
    command = f"{prefix(folder / 'staged')} {before} take d {folder}/log {targets}"
    return subprocess.run(["bash", "-c", command], capture_output=True, timeout=60).returncode


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    cell = tmp_path / "staged/computed/d"
    cell.mkdir(parents=True)
    (tmp_path / "place").mkdir()
    for name in FILES:
        (cell / name).write_text(name)
    cell.with_suffix(".log").write_text("done\n")
    return tmp_path


def there(folder: Path) -> list[str]:
    return [path.name for path in sorted((folder / "place").iterdir())]


def test_a_cell_is_taken_once(staged: Path) -> None:
    assert take(staged) == 0
    assert there(staged) == [*FILES]
    assert (staged / "log").read_text() == "done\n"
    assert not list((staged / "staged/computed").iterdir())
    assert take(staged) == 1, "nothing to take: the rule then computes the cell"


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_a_job_that_is_killed_between_two_files(staged: Path, moment: int) -> None:
    dying = f'n=0; ln() {{ command ln "$@"; n=$((n + 1)); if test $n = {moment}; then kill -9 $$; fi; }};'
    assert take(staged, dying) == -signal.SIGKILL
    assert len(there(staged)) == moment
    # Snakemake deletes what a killed job may have left half done.
    for path in (staged / "place").iterdir():
        path.unlink()
    assert take(staged) == 0
    assert {name: (staged / "place" / name).read_text() for name in FILES} == {n: n for n in FILES}


def test_a_job_that_is_killed_while_it_clears_away(staged: Path) -> None:
    dying = 'rm() { command rm "$@"; kill -9 $$; };'
    assert take(staged, dying) == -signal.SIGKILL
    assert there(staged) == [*FILES]
    for path in (staged / "place").iterdir():
        path.unlink()
    assert take(staged) == 1, "what is not whole is not taken: the rule computes the cell"


def test_a_file_system_without_links_gets_copies(staged: Path) -> None:
    assert take(staged, "ln() { return 1; };") == 0
    assert there(staged) == [*FILES]
