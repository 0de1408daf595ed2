"""Prepare a page for the style sheet: cells get their columns' names, intervals stay whole, figures lead to themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes

# "[14.3, 16.0]", and with the minus sign of the pages.
INTERVAL = re.compile(r"(\[[−-]?[\d.]+, [−-]?[\d.]+\])")
# A cell with more characters than this makes a table one of sentences.
SENTENCES = 90


def look(_app: object, document: nodes.document, _name: str) -> None:
    """Prepare the tables and figures of a page for the style sheet."""
    for image in document.findall(nodes.image):
        # Sphinx links an image that is scaled to its file.
        image.setdefault("scale", 100)
    for table in list(document.findall(nodes.table)):
        prepare_table(table)


def prepare_table(table: nodes.table) -> None:
    """Tell a table of sentences from one of figures, and mark what its cells need."""
    longest = max((len(cell.astext()) for cell in table.findall(nodes.entry)), default=0)
    table["classes"].append("prose" if longest > SENTENCES else "figures")
    keep_intervals(table)
    if longest > SENTENCES:
        label(table)


def keep_intervals(table: nodes.table) -> None:
    """Wrap every interval of a table, so that no line breaks inside it."""
    for text in list(table.findall(nodes.Text)):
        pieces = INTERVAL.split(str(text))
        if len(pieces) > 1 and not isinstance(text.parent, nodes.literal):
            kept = [
                nodes.inline("", piece, classes=["interval"]) if at % 2 else nodes.Text(piece)
                for at, piece in enumerate(pieces)
                if piece
            ]
            text.parent.replace(text, kept)


def label(table: nodes.table) -> None:
    """Begin every cell that is not empty with the name of its column, which only a phone shows."""
    heads = [cell.astext() for head in table.findall(nodes.thead) for cell in cells(head)]
    for body in table.findall(nodes.tbody):
        for row in body.findall(nodes.row):
            for name, cell in zip(heads, cells(row), strict=False):
                if name and cell.children:
                    first: Any = cell[0] if isinstance(cell[0], nodes.TextElement) else cell
                    first.insert(0, nodes.inline("", f"{name}: ", classes=["cell-label"]))


def cells(part: nodes.Element) -> Iterator[nodes.entry]:
    """Yield the cells of a head or a row."""
    yield from part.findall(nodes.entry)
