"""A tiny study that has really run, for every test that needs finished cells."""

from __future__ import annotations

import copy
import importlib.util
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import settings

from gradsiege.cli import main
from gradsiege.pipeline.cells import cells
from gradsiege.seeds import seed_for
from gradsiege.study import Study, load, parse

# Flower is installed for `make test-integrations` alone; its helper is not a test.
collect_ignore = [] if importlib.util.find_spec("flwr") else ["support/local_grid.py"]

# The same examples on every machine and every day; `pytest --hypothesis-profile=random` draws others, and says how to repeat one.
settings.register_profile("fixed", derandomize=True, database=None, deadline=None)
settings.register_profile("random", database=None, deadline=None, print_blob=True)
settings.load_profile("fixed")

# Engines round differently, and a measurement may choose another one the next time: results are compared bit by bit here.
os.environ["GRADSIEGE_ENGINE"] = "loop"

TINY: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_name("support").joinpath("tiny.yaml").read_text(encoding="utf-8")
)
FILE = "tiny.yaml"


def _seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@pytest.fixture(autouse=True)
def _same_numbers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give every test the same global random numbers, alone or in any order; fixtures between tests begin at seed 0."""
    _seed_all(seed_for(request.node.name))
    yield
    _seed_all(0)


_seed_all(0)


@pytest.fixture
def tiny_raw() -> dict[str, Any]:
    """The tiny study as plain data, free to be changed."""
    return copy.deepcopy(TINY)


@pytest.fixture(scope="session")
def fresh_tiny() -> Callable[[], dict[str, Any]]:
    """A function that returns the tiny study as plain data, for fixtures of a wider scope."""
    return lambda: copy.deepcopy(TINY)


@pytest.fixture
def tiny() -> Study:
    """The tiny study, not run."""
    return parse(copy.deepcopy(TINY))


def run_verb(*arguments: str | Path) -> int:
    """Run one command in this process and return its exit code."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


def run_all(raw: dict[str, Any], root: Path) -> Study:
    """Write a study file under `root` and run all its stages there."""
    file = root / FILE
    file.write_text(yaml.safe_dump(raw, sort_keys=False))
    study = load(file)
    for stage, of_stage in cells(study).items():
        for cell in of_stage:
            code = run_verb(stage, cell.key, "--study", file, "--root", root)
            assert code == 0, f"{stage} {cell.key} left with {code}"
    return study


@pytest.fixture(scope="session")
def run_study() -> Callable[..., Study]:
    """A function that runs all stages of a study, given as plain data, under a root."""
    return run_all


@pytest.fixture(scope="session")
def verb() -> Callable[..., int]:
    """A function that runs one command of the command line in this process."""
    return run_verb


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    """The tiny study after all its stages, and its root. Read it, do not change it."""
    root = tmp_path_factory.mktemp("finished")
    return run_all(TINY, root), root


@pytest.fixture
def study_copy(finished_study: tuple[Study, Path], tmp_path: Path) -> tuple[Study, Path]:
    """A copy of the finished study that a test may damage."""
    import shutil

    study, root = finished_study
    shutil.copytree(root, tmp_path / "copy")
    return study, tmp_path / "copy"


@pytest.fixture(scope="session")
def keep() -> ModuleType:
    """The program that keeps a study's results, `docs/results/keep.py`, as a module."""
    file = Path(__file__).parents[1] / "docs" / "results" / "keep.py"
    spec = importlib.util.spec_from_file_location("keep", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
