"""CONTRIBUTING.md is true: its floors are those of `lint-imports`; the tools beside the package do as they say."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_floors_are_those_of_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    floors = contracts["tool"]["importlinter"]["contracts"][0]["layers"]
    shown = re.search(r"keeps it so:\n\n((?:    .+\n)+)", GUIDE)
    assert shown
    assert [line.split(" · ") for line in shown[1].replace("    ", "").splitlines()] == [
        floor.replace("gradsiege.", "").split(" : ") for floor in floors
    ]


def test_asking_a_benchmark_for_help_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    planning = importlib.import_module("benchmarks.planning")
    monkeypatch.setattr(planning, "measure", lambda file: pytest.fail("the benchmark ran"))
    monkeypatch.setattr("sys.argv", ["planning", "--help"])
    with pytest.raises(SystemExit, match="0"):
        planning.main()


def test_the_defense_that_is_shown_passes_the_tests_of_every_defense(tmp_path: Path) -> None:
    path, code = re.findall(r"A defense, `src/(\S+)`:\n\n```python\n(.*?)```", GUIDE, re.DOTALL)[0]
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src/gradsiege", tmp_path / "gradsiege", ignore=ignored)
    (tmp_path / path).write_text(code, encoding="utf-8")
    shutil.copytree(ROOT / "tests/defenses", tmp_path / "tests/defenses", ignore=ignored)
    place, test = re.findall(r"`(tests/defenses/\S+)`:\n\n```python\n(.*?)```", GUIDE, re.DOTALL)[0]
    (tmp_path / place).write_text(test, encoding="utf-8")
    shutil.copy(ROOT / "tests/test_methods_page.py", tmp_path / "tests")
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("results"))
    methods = (ROOT / "docs/METHODS.md").read_text(encoding="utf-8")
    named = methods.replace("| defenses | `none`, ", "| defenses | `none`, `half`, ")
    (tmp_path / "docs/METHODS.md").write_text(named, encoding="utf-8")
    chosen = ("tests/test_methods_page.py", "tests/defenses/test_every_defense.py", place)
    options = (
        "-q",
        "-rp",
        "-p",
        "no:cacheprovider",
        "-k",
        "half or methods_page",
        "--import-mode=importlib",
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", str(tmp_path), *chosen],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("[half-faithful]") == 4
    assert "test_half_of_an_update_is_uploaded" in done.stdout
    assert "test_every_method_is_named_once[defenses]" in done.stdout
