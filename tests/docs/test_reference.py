"""The reference of the library shows every name that a docstring describes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from docs.pages.markdown import item

SOURCE = Path(__file__).parents[2] / "src/gradsiege"


@pytest.mark.parametrize(
    ("name", "kind", "shown"),
    [
        ("epsilon,", "delta, clip", "``epsilon``, ``delta``, ``clip``: words"),
        ("epsilon,", "(delta, clip)", "``epsilon``, ``delta``, ``clip``: words"),
        ("parameters, buffers", "", "``parameters``, ``buffers``: words"),
        ("*images", "Tensor", "``*images``: words"),
        ("", "(TypeError, ValueError)", "`TypeError`, `ValueError`: words"),
        ("", "tuple[Tensor, Tensor]", "`tuple[Tensor, Tensor]`: words"),
        ("", "", "words"),
    ],
)
def test_a_line_shows_every_name_before_its_colon(name: str, kind: str, shown: str) -> None:
    assert item(name, kind, "words") == f"- {shown}"


def test_the_pages_show_every_shared_line_of_attributes() -> None:
    api = pytest.importorskip("docs.pages.api", reason="the environment of the site reads them")
    pages = "".join(api.pages().values())
    shared = set()
    for file in SOURCE.rglob("*.py"):
        for thing in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(thing, ast.ClassDef) and not thing.name.startswith("_"):
                attributes = (ast.get_docstring(thing) or "").partition("Attributes:\n")[2]
                shared |= set(re.findall(r"^    (\w+(?:, \w+)+): ", attributes, re.M))
    lines = {
        found[0].replace("`", "")
        for found in re.finditer(r"(?<=^- )``\w+``(, ``\w+``)+", pages, re.M)
    }
    assert len(lines & shared) > 20
    assert not re.search(r"^- `+\w+,`", pages, re.M)
