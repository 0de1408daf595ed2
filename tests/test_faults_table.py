"""docs/FAULTS.md is true line by line: each line names tests that exist, and no test of a fault is left out."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TABLE = TESTS.parent / "docs" / "FAULTS.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in TABLE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| what happens")
]


def shown_by(row: list[str]) -> list[str]:
    return row[3].rstrip(" |").replace("`", "").split()


def functions(file: Path) -> set[str]:
    """Tests of a file, by name."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return {name for name in found if name.startswith("test_")}


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_line_names_the_tests_that_show_it(row: list[str]) -> None:
    assert len(row) == 4, row
    assert shown_by(row)
    for name in shown_by(row):
        file, _, function = name.partition("::")
        assert (TESTS / file).is_file(), name
        assert function in functions(TESTS / file), name


def test_every_test_of_a_fault_stands_in_a_line() -> None:
    named = {name for row in ROWS for name in shown_by(row)}
    files = sorted((TESTS / "faults").glob("test_*.py"))
    every = {f"faults/{file.name}::{name}" for file in files for name in functions(file)}
    assert every - named == set()
