"""Files that a reader takes in at once: the stages that adapt the library to a study, and the study of informed attackers."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("file", "most"),
    [
        ("config/adaptive.yaml", 60),
        *((f"src/gradsiege/stages/{name}.py", 100) for name in ("attack", "federate", "score")),
    ],
)
def test_a_file_is_short(file: str, most: int) -> None:
    assert len((ROOT / file).read_text(encoding="utf-8").splitlines()) <= most


# Lines of functions without their docstrings. Longer ones are listed; the list may only shrink.
MOST_LINES = 40
LONGER = {
    "cli/auditing.py audit": 64,
    "inspection/crate.py _described": 68,
    "auditing/sizing.py sized": 48,
    "attacks/recipes/learned_inversion.py learn": 43,
    "attacks/reconstruct.py reconstruct": 45,
    "federated/observing.py observe": 51,
    "inspection/planning.py plan": 50,
    "pipeline/cells.py settings": 43,
    "report/figures/attack_defense_heatmap.py _sheet": 47,
    "report/style.py study_style": 48,
    "tracking/replay.py _cells": 43,
    "tuning/clients.py simulated_clients": 46,
    "tuning/settings.py choose_settings": 45,
}


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function's body, from the first statement behind its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return 0 if not body else (function.end_lineno or 0) - body[0].lineno + 1


def test_functions_are_short_but_for_those_that_are_listed() -> None:
    package = ROOT / "src/gradsiege"
    longer = {
        f"{path.relative_to(package)} {node.name}": lines_of(node)
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and lines_of(node) > MOST_LINES
    }
    assert {name: lines for name, lines in longer.items() if lines > LONGER.get(name, 0)} == {}
    assert longer.keys() == LONGER.keys(), "one of the list is short now: take it off"
