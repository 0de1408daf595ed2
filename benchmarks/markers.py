"""The places of made tables in a page: each between two comments that no reader sees."""

from __future__ import annotations

import re

BEGIN, END = "<!-- benchmark begins -->\n", "<!-- benchmark ends -->\n"
MADE = re.compile(r"<!-- ([\w ]+) begins -->\n.*?<!-- \1 ends -->\n", re.DOTALL)


def replaced(page: str, made: str, name: str = "benchmark") -> str:
    r"""Return a page with another text between the markers of a name.

    >>> replaced(f"a\n{BEGIN}old\n{END}b", "new\n") == f"a\n{BEGIN}new\n{END}b"
    True
    """
    begin, end = (mark.replace("benchmark", name) for mark in (BEGIN, END))
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return before + begin + made + end + after


def by_hand(page: str) -> str:
    r"""Return a page without its made texts; a line of each is left, so that the lines around it stay apart.

    >>> by_hand(f"a\n{BEGIN}made\n{END}b")
    'a\n\nb'
    """
    return MADE.sub("\n", page)
