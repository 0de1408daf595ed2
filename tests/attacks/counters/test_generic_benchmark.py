"""The generic counter beside hand-written ones: the benchmark's rows, its table, and the page that shows them."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from benchmarks import generic as benchmark
from benchmarks import generic_table as benchmark_table
from benchmarks.markers import BEGIN, END

NAME = "generic.learned_reliability"
BUDGET = {"images": "8", "iterations": "100", "side": "16"}


def test_the_benchmark_attacks_by_every_attacker(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    toy = ["--images", "1", "--iterations", "1", "--side", "16", "--aux", "20", "--model", "lenet"]
    benchmark.main(["top_k", *toy, "--rows", str(rows)])
    with rows.open(newline="") as file:
        kept = list(csv.DictReader(file))
    names = ("", NAME, "top_k.on_support", "top_k.likelihood")
    pixels = [("pixels", name) for name in names]
    assert [(row["attack"], row["counter"]) for row in kept] == [
        *pixels,
        *(("gaussian", name) for name in ("", NAME, "top_k.likelihood")),
    ]
    assert all(math.isfinite(float(row["psnr"])) for row in kept)


def test_the_table_shows_the_best_hand_written_counter_and_the_difference() -> None:
    base = {"model": "lenet", "defense": "top_k", "attack": "pixels"} | BUDGET
    values = {"": 5.0, "top_k.on_support": 7.0, "top_k.likelihood": 6.0, NAME: 6.5}
    rows = [base | {"counter": name, "psnr": str(value)} for name, value in values.items()]
    older = base | {"counter": NAME, "psnr": "1.0"}
    text = benchmark_table.page("a\n" + BEGIN + "old\n" + END + "b\n", [older, *rows])
    assert "| lenet | top k | pixels | 5.0 | 7.0 | on support | 6.5 | -0.5 |" in text
    assert "old" not in text
    assert text.startswith("a\n")
    assert text.endswith(END + "b\n")


def test_the_page_shows_the_rows_that_are_kept() -> None:
    with benchmark.ROWS.open(newline="") as file:
        kept = list(csv.DictReader(file))
    text = benchmark_table.PAGE.read_text()
    assert benchmark_table.page(text, kept) == text


def test_rows_of_another_budget_are_refused() -> None:
    row = {"model": "lenet", "defense": "sign", "attack": "pixels", "counter": "", "psnr": "1.0"}
    with pytest.raises(ValueError, match=r"rows of 2 budgets .* do not compare"):
        benchmark_table.table([row | BUDGET, row | BUDGET | {"iterations": "60"}])
