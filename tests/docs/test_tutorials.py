"""The tutorials run from top to bottom at a toy budget, and what they show is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from code_blocks import ROOT

FOLDER = ROOT / "docs/tutorials"


def printed(name: str, iterations: int, tmp_path: Path) -> str:
    """Return the lines that a tutorial prints with so many iterations."""
    text, count = re.subn(
        r"(?m)^iterations = \d+", f"iterations = {iterations}", (FOLDER / name).read_text()
    )
    assert count == 1
    file = tmp_path / name
    file.write_text(text)
    done = subprocess.run(
        [sys.executable, str(file)], cwd=tmp_path, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_tutorial_is_run_here() -> None:
    assert {file.name for file in FOLDER.iterdir()} == {
        "breaking_tip.py",
        "your_gradient_my_image.py",
    }


def test_your_gradient_my_image(tmp_path: Path) -> None:
    shown = printed("your_gradient_my_image.py", 20, tmp_path)
    assert "inferred label: [3]" in shown
    assert "gaussian" in shown
    assert "nan" not in shown.lower()


def test_a_counter_undoes_most_of_tip_and_little_of_noise_everywhere(tmp_path: Path) -> None:
    shown = printed("breaking_tip.py", 80, tmp_path)
    decibel = {
        name: float(value) for name, value in re.findall(r"^(.+?): +(-?[\d.]+) dB$", shown, re.M)
    }
    lost = decibel["no defense, blind"] - decibel["TIP, blind"]
    assert lost > 3
    for counter in ("drop_flagged_channels", "keep_kernel_means", "whitened"):
        assert decibel[f"TIP, tip.{counter}"] - decibel["TIP, blind"] > lost / 2
    assert decibel["noise of equal length, informed"] < decibel["TIP, tip.drop_flagged_channels"]


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.stem)
def test_a_tutorial_is_in_the_percent_format(file: Path) -> None:
    lines = file.read_text().splitlines()
    assert lines[0] == "# ---"
    assert sum(line == "# %% [markdown]" for line in lines) >= 4
    assert sum(line == "# %%" for line in lines) >= 4
