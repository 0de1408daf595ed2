"""CONTRIBUTING.md is true: its floors are those of `lint-imports`; the tools beside the package do as they say."""

from __future__ import annotations

import importlib
import re
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
