"""Counts of the entries that a reader left out or changed, by kind, with the first name of each kind."""

from __future__ import annotations


class Remarks:
    """Counts by kind; whenever an entry of a source is left out, it is counted.

    >>> remarks = Remarks()
    >>> remarks.add("files of other kinds are left out", "a.heic")
    >>> remarks.add("files of other kinds are left out", "b.heic")
    >>> remarks.sentences()
    ['files of other kinds are left out: 2, such as a.heic']
    """

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def add(self, kind: str, name: str) -> None:
        """Count one thing, named relative to its data set."""
        self._first.setdefault(kind, name)
        self._counts[kind] = self._counts.get(kind, 0) + 1

    def sentences(self) -> list[str]:
        """Return one sentence per kind, in order of appearance."""
        return [
            f"{kind}: {count}, such as {self._first[kind]}" for kind, count in self._counts.items()
        ]
