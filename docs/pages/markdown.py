"""Pieces of Markdown that several pages share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

NAMES = re.compile(r"\*{0,2}[\w.]+(, \*{0,2}[\w.]+)+")


def cell(text: object) -> str:
    r"""Return a text as it may stand in a table.

    >>> cell("a|b\nc")
    'a\\|b c'
    """
    return str(text).replace("|", "\\|").replace("\n", " ")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; the cells are taken as they are."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def item(name: object, kind: object, description: object) -> str:
    """Return one line of a docstring's section as an item of a list, with every name that it describes.

    name, kind: as griffe reads them. Of attributes it takes the words after the first name for a type, and of errors it makes a tuple.
    A name has two backticks, so that an argument named like a module does not link to it.

    >>> item("epsilon,", "delta, clip", "of the noise")
    '- ``epsilon``, ``delta``, ``clip``: of the noise'
    >>> item("", "(TypeError, ValueError)", "where the shapes differ"), item("", "dict[str, int]", "by name")
    ('- `TypeError`, `ValueError`: where the shapes differ', '- `dict[str, int]`: by name')
    """
    told = str(name or kind)
    if told.endswith(","):
        told += f" {str(kind).strip('()')}"
    bare = told.removeprefix("(").removesuffix(")")
    names = bare.split(", ") if NAMES.fullmatch(bare) else [told]
    words = " ".join(str(description).split())
    tick = "``" if name else "`"
    shown = ", ".join(f"{tick}{one}{tick}" for one in names)
    return f"- {shown}: {words}" if told else f"- {words}"
