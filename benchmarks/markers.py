"""The place of a made table in a page: between two comments that no reader sees."""

from __future__ import annotations

BEGIN, END = "<!-- benchmark begins -->\n", "<!-- benchmark ends -->\n"


def replaced(page: str, made: str) -> str:
    r"""Return a page with another text between its markers.

    >>> replaced(f"a\n{BEGIN}old\n{END}b", "new\n") == f"a\n{BEGIN}new\n{END}b"
    True
    """
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + made + END + after
