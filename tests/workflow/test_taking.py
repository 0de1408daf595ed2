"""Snakemake's jobs that take a finished cell to its place can be killed at any point and repeated."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = ("a.safetensors", "b.parquet", "manifest.json")


PLACE = "federate/a/b"


def prefix(folder: Path) -> str:
    """What the rules put before every command, with other folders of results and of staged cells."""
    text = (ROOT / "workflow/rules/common.smk").read_text(encoding="utf-8")
    found = re.search(r"^shell\.prefix\((.*?)^\)$", text, re.DOTALL | re.MULTILINE)
    assert found
    names = {
        "shlex": shlex,
        "PROGRAMS": shlex.quote(str(Path(sys.executable).parent)),
        "STAGED": str(folder / "staged"),
        "RESULTS": str(folder / "results"),
    }
    return str(eval(f"({found.group(1)})", names)).format()


def take(folder: Path, before: str = "") -> int:
    """Take the cell `d`; return the exit code."""
    targets = " ".join(str(folder / "results" / PLACE / name) for name in FILES)
    # As in the rules: what follows `||` is not to run unless there is nothing to take.
    command = f"{prefix(folder)} {before} take d {folder}/log {targets} || exit 9"
    return subprocess.run(["bash", "-c", command], capture_output=True, timeout=60).returncode


def write(folder: Path, text: str) -> None:
    """A cell: its manifest as the package writes it."""
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_text(text)
    (folder / "manifest.json").write_text(f'{{\n  "digest": "{text}",\n  "files": {{}}\n}}\n')


def held(folder: Path) -> str:
    """What a whole cell holds."""
    assert {*FILES} <= {path.name for path in folder.iterdir()}
    (text,) = {(folder / name).read_text() for name in FILES[:-1]}
    assert f'"{text}"' in (folder / "manifest.json").read_text()
    return text


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    """A new cell that waits, and the old one in its place."""
    write(tmp_path / "staged/computed/d", "d")
    (tmp_path / "staged/computed/d.log").write_text("done\n")
    write(tmp_path / "results" / PLACE, "old")
    return tmp_path


def test_a_cell_is_taken_and_found_there_the_next_time(staged: Path) -> None:
    assert take(staged) == 0
    assert held(staged / "results" / PLACE) == "d"
    assert (staged / "log").read_text() == "done\n"
    assert not [path for path in (staged / "staged").rglob("*") if path.is_file()]
    assert take(staged) == 0, "it is in its place"


def test_with_nothing_to_take_the_rule_computes_the_cell(staged: Path) -> None:
    shutil.rmtree(staged / "staged/computed/d")
    assert take(staged) == 9
    assert held(staged / "results" / PLACE) == "old"


def test_a_failed_cell_fails_its_job_and_leaves_the_old_one(staged: Path) -> None:
    shutil.rmtree(staged / "staged/computed/d")
    (staged / "staged/computed/d.failed").write_text("RuntimeError\n")
    assert take(staged) == 1
    assert held(staged / "results" / PLACE) == "old"


@pytest.mark.parametrize("moment", [1, 2])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_job_that_is_killed_between_two_moves(staged: Path, moment: int, when: str) -> None:
    """Old and new cell are whole, wherever they lie, and the next job puts the new one in its place."""
    die = f"if test $n = {moment}; then kill -9 $$; fi"
    steps = (die, 'command mv "$@"') if when == "before" else ('command mv "$@"', die)
    dying = f"n=0; mv() {{ n=$((n + 1)); {'; '.join(steps)}; }};"
    assert take(staged, dying) == -signal.SIGKILL
    place, old = staged / "results" / PLACE, staged / "staged/replaced" / PLACE
    done = moment - (when == "before")
    assert held(place if done == 0 else old) == "old"
    assert held(place if done == 2 else staged / "staged/computed/d") == "d"
    assert take(staged) == 0
    assert held(place) == "d"


def test_files_that_are_nobodys_stay(staged: Path) -> None:
    notes = staged / "results" / PLACE / "notes.txt"
    notes.write_text("mine")
    assert take(staged) == 0
    assert notes.read_text() == "mine"


def test_results_on_another_file_system_get_copies(staged: Path) -> None:
    other = 'stat() { echo "$3"; };'
    assert take(staged, other) == 0
    assert held(staged / "results" / PLACE) == "d"
    assert [path.name for path in (staged / "results/federate/a").iterdir()] == ["b"]


def test_a_place_that_cannot_be_written_fails_the_job(staged: Path) -> None:
    assert take(staged, "mv() { return 1; };") == 1
    assert held(staged / "results" / PLACE) == "old"
    assert held(staged / "staged/computed/d") == "d"


@pytest.mark.parametrize("sort", ["manifest", "link", "dangling link", "file"])
def test_what_is_no_cell_in_the_place_of_one(sort: str, staged: Path) -> None:
    """A manifest that is a folder; a place that is a link or a file."""
    place, elsewhere = staged / "results" / PLACE, staged / "elsewhere"
    write(elsewhere, "theirs")
    if sort == "manifest":
        (place / "manifest.json").unlink()
        (place / "manifest.json/deep").mkdir(parents=True)
    else:
        shutil.rmtree(place)
        if sort == "file":
            place.write_text("a file")
        else:
            place.symlink_to(elsewhere if sort == "link" else staged / "gone")
    assert take(staged) == 0
    assert held(place) == "d"
    assert held(elsewhere) == "theirs"
    assert not [path for path in (staged / "staged").rglob("*") if not path.is_dir()]
