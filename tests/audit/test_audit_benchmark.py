"""The table of docs/AUDIT.md is that of the kept rows, whose study numbers are those of the kept study."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks.audits import DEFENSES, worst_case_of_the_study
from benchmarks.audits_table import FIELDS, PAGE, keep, page, read


def test_the_page_shows_the_kept_rows() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text, read()) == text


def test_the_kept_rows_are_of_the_kept_study() -> None:
    rows = read()
    assert {row["defense"] for row in rows} == set(DEFENSES)
    for row in rows:
        assert float(row["study"]) == pytest.approx(
            worst_case_of_the_study(row["defense"]), abs=0.01
        )


def test_three_of_four_quick_audits_come_within_a_decibel_of_the_study() -> None:
    """A stronger audit is as good: the study's worst case is not missed."""
    near = [row for row in read() if float(row["audit"]) >= float(row["study"]) - 1]
    assert len(near) >= 3


def test_a_new_row_takes_the_place_of_that_of_its_defense(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.audits_table.ROWS", tmp_path / "audits.csv")
    row = dict.fromkeys(FIELDS, "1")
    keep([row | {"defense": "a"}, row | {"defense": "b"}])
    keep([row | {"defense": "a", "audit": "2"}])
    with (tmp_path / "audits.csv").open() as file:
        assert [(kept["defense"], kept["audit"]) for kept in csv.DictReader(file)] == [
            ("a", "2"),
            ("b", "1"),
        ]
