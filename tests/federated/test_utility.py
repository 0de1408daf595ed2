"""What a federation records of its utility and cost, and what tables make of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradsiege import artifacts
from gradsiege.errors import StoppedEarlyError
from gradsiege.federated.server import macro_f1, micro_f1
from gradsiege.pipeline.cells import cells
from gradsiege.pipeline.jobs import Job
from gradsiege.report.load import load_study
from gradsiege.stages.federate import federate
from gradsiege.study import Study

Finished = tuple[Study, Path]
TIMES = ["seconds", "peak_memory"]


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(2, 7), st.integers(0, 1000))
def test_micro_f1_of_one_label_per_image_is_the_accuracy(
    images: int, classes: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, classes, (2, images))
    assert micro_f1(truth, predicted) == pytest.approx(float((truth == predicted).mean()))


def test_micro_f1_hides_the_rare_class_that_macro_f1_shows() -> None:
    truth = np.array([0] * 95 + [1] * 5)
    constant = np.zeros(100, dtype=int)
    assert micro_f1(truth, constant) == pytest.approx(0.95)
    assert macro_f1(truth, constant) == pytest.approx(0.5 * 2 * 95 / 195)


def test_every_round_has_its_measures_and_its_cost(finished_study: Finished) -> None:
    study, root = finished_study
    for cell in cells(study)["federate"]:
        folder = cell.folder(study, root)
        table = artifacts.read_table(folder / "utility.parquet")
        assert list(table["round"]) == [0, 1, 2, 3]
        assert table["micro_f1"].tolist() == pytest.approx(table["accuracy"].tolist())
        # Times are not in the table, which has the same bytes on every run.
        assert not set(TIMES) & set(table.columns)
        rounds = artifacts.read_manifest(folder)["notes"]["rounds"]
        assert [spent["round"] for spent in rounds] == [1, 2, 3]
        assert all(0 < spent["seconds"] < 60 for spent in rounds)
        held = [spent["peak_memory"] for spent in rounds]
        assert 50 < held[0] <= held[1] <= held[2]


def test_figures_find_the_cost_beside_the_accuracy(finished_study: Finished) -> None:
    study, root = finished_study
    utility = load_study(study, root).utility
    assert len(utility) == 2 * 4
    assert utility.loc[utility["round"] == 0, TIMES].isna().all(axis=None)
    assert utility.loc[utility["round"] > 0, TIMES].notna().all(axis=None)


def test_the_cost_of_finished_rounds_survives_an_interruption(
    study_copy: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, root = study_copy
    cell = cells(study)["federate"][0]
    stops = iter([False, False, True])
    with monkeypatch.context() as patch:
        patch.setattr(Job, "should_stop", lambda job: next(stops))
        with pytest.raises(StoppedEarlyError), Job(cell, study, root).running() as job:
            federate(job)
    before = Job(cell, study, root).load_progress()
    assert before is not None
    with Job(cell, study, root).running() as job:
        federate(job)
    rounds = artifacts.read_manifest(cell.folder(study, root))["notes"]["rounds"]
    assert rounds[:2] == before[1]["costs"]
    assert [spent["round"] for spent in rounds] == [1, 2, 3]


def test_peak_memory_grows_by_what_is_held_and_never_falls() -> None:
    """In a process of its own, whose peak no other test has raised."""
    code = (
        "from gradsiege.federated.cost import Cost, peak_memory\n"
        "start = peak_memory()\n"
        "with Cost() as cost:\n"
        "    held = bytearray(64 * 2**20)\n"
        "    held[::4096] = b'x' * len(held[::4096])\n"
        "    del held\n"
        "print(start, cost.peak_memory, peak_memory())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    start, held, after = map(float, done.stdout.split())
    assert held - start == pytest.approx(64, abs=4)
    assert after >= held
