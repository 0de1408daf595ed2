"""Numbers that stand together on a kept study's page belong together: an interval is that of its value, a row that of one thing."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from kept_pages import DECIMAL, KEPT, ROOT, STUDIES
from numpy.typing import NDArray

from gradsiege.report.columns import IDENTIFIERS

# Tables whose rows gather several cells of the study, so that no name tells their numbers; their intervals are tested alone.
GATHERED = {
    "baselines",
    "cifar10_gi_pip",
    "cifar10_tip",
    "defenses",
    "gi_pip",
    "gifd",
    "tip_counters",
}
INTERVAL = re.compile(
    r"(-?\d+(?:\.\d+)?)(?: dB| %| points)? \[(-?\d+(?:\.\d+)?), (-?\d+(?:\.\d+)?)\]"
)
# Columns that together name a row; a page needs no more than two.
MOST_COLUMNS = 2
Row = tuple[dict[str, str], list[float]]
Intervals = NDArray[np.float64]
Groups = dict[tuple[str, ...], NDArray[np.float64]]


def rows_of(folder: Path) -> list[Row]:
    """The identifiers and the numbers of every row of the long tables in a folder."""
    found: list[Row] = []
    for file in sorted(folder.glob("*.csv")):
        with file.open(newline="", encoding="utf-8-sig") as lines:
            for row in csv.DictReader(lines):
                names = {key: value for key, value in row.items() if key in IDENTIFIERS and value}
                found.append((names, [*numbers_of(row)]))
    return found


def numbers_of(row: Mapping[str, str]) -> Iterator[float]:
    """Those fields of a row that are numbers."""
    for field in row.values():
        try:
            yield float(field)
        except (TypeError, ValueError):
            continue


def grouped(rows: list[Row], columns: tuple[str, ...]) -> Groups:
    """The sorted numbers, as they are and in percent, of all rows that bear the same names in these columns."""
    groups: dict[tuple[str, ...], set[float]] = defaultdict(set)
    for names, values in rows:
        if all(column in names for column in columns):
            known = groups[tuple(names[column] for column in columns)]
            known.update(scale * abs(value) for value in values for scale in (1, 100))
    return {key: np.sort(np.array([*known])) for key, known in groups.items()}


def fits(written: list[str], known: NDArray[np.float64]) -> bool:
    """Whether each number as it is written is one of these, rounded."""
    for text in written:
        half = 0.500001 * 10.0 ** -len(text.partition(".")[2])
        value = abs(float(text))
        place = np.searchsorted(known, value - half)
        if place == len(known) or known[place] > value + half:
            return False
    return True


def tables(text: str) -> Iterator[list[str]]:
    """The rows of each table of a page, without its heading."""
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            block.append(line)
        elif block:
            yield block[2:]
            block = []


def named_by(shown: list[list[str]], rows: list[Row]) -> tuple[str, ...] | None:
    """The columns by whose names every row of a page's table can be told, each by another name; None if there are none.

    Args:
        shown: the numbers of each row as they are written.
        rows: those of the study's tables.
    """
    columns = sorted({column for names, _ in rows for column in names})
    for size in range(1, MOST_COLUMNS + 1):
        for chosen in combinations(columns, size):
            groups = grouped(rows, chosen)
            if len(groups) < len(shown):
                continue
            graph = nx.Graph()
            graph.add_nodes_from(range(len(shown)))
            graph.add_edges_from(
                (place, key)
                for place, written in enumerate(shown)
                for key, known in groups.items()
                if fits(written, known)
            )
            matched = nx.bipartite.maximum_matching(graph, top_nodes=range(len(shown)))
            if all(place in matched for place in range(len(shown))):
                return chosen
    return None


def shown_on(study: str) -> Iterator[list[list[str]]]:
    """The numbers of every table of a study's page that has two rows of two at least; those that the study sets are left out."""
    settings = {*DECIMAL.findall((ROOT / "config" / f"{study}.yaml").read_text())}
    for table in tables((KEPT / study / "README.md").read_text()):
        rows = [[text for text in DECIMAL.findall(line) if text not in settings] for line in table]
        rows = [row for row in rows if len(row) >= 2]
        if len(rows) >= 2:
            yield rows


@pytest.mark.parametrize("study", [study for study in STUDIES if study not in GATHERED])
def test_the_numbers_of_a_row_are_those_of_one_thing(study: str) -> None:
    rows = rows_of(KEPT / study)
    for table in shown_on(study):
        assert named_by(table, rows) is not None, table


def test_a_number_that_moved_to_another_row_is_found() -> None:
    rows: list[Row] = [
        ({"defense": "a"}, [1.24, 0.5]),
        ({"defense": "b"}, [2.5, -3.5]),
        ({"defense": "c"}, [4.5, 9.5]),
    ]
    assert named_by([["1.2", "50.0"], ["2.5", "-3.5"]], rows) == ("defense",)
    assert named_by([["1.2", "3.5"], ["2.5", "0.5"]], rows) is None
    assert named_by([["1.2", "0.5"], ["1.2", "0.5"]], rows) is None


def measured(folder: Path) -> Intervals:
    """Value, low and high of every row of a folder's long tables that has an interval, as they are and in percent."""
    found = []
    for file in sorted(folder.glob("*.csv")):
        with file.open(newline="", encoding="utf-8-sig") as lines:
            for row in csv.DictReader(lines):
                if row.get("low") and row.get("high") and row.get("value"):
                    found.append([float(row[name]) for name in ("value", "low", "high")])
    once = np.array(found).reshape(-1, 3)
    return np.concatenate([once, 100 * once])


def strange(text: str, known: Intervals) -> list[str]:
    """The intervals of a text that belong to no such value; "takes 4 dB [3, 5]" may stand for -4 [-5, -3]."""
    turned = -known[:, [0, 2, 1]]
    missing = []
    for found in INTERVAL.finditer(text):
        written = np.array([float(part) for part in found.groups()])
        half = [0.500001 * 10.0 ** -len(part.partition(".")[2]) for part in found.groups()]
        near = [np.all(np.abs(rows - written) <= half, axis=1).any() for rows in (known, turned)]
        if not any(near):
            missing.append(found[0])
    return missing


@pytest.mark.parametrize("study", STUDIES)
def test_every_interval_is_that_of_its_value(study: str) -> None:
    assert strange((KEPT / study / "README.md").read_text(), measured(KEPT / study)) == []


def test_an_interval_of_another_value_is_found() -> None:
    known = np.array([[1.24, 1.0, 2.0], [-4.0, -5.0, -3.0]])
    assert strange("1.2 [1.0, 2.0] and 4.0 dB [3.0, 5.0], -4.0 [-5.0, -3.0]", known) == []
    assert strange("1.2 [-5.0, 2.0]", known) == ["1.2 [-5.0, 2.0]"]
    assert strange("4.0 [-5.0, -3.0]", known) == ["4.0 [-5.0, -3.0]"]
