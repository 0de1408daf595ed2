"""Newly finished cells of a study, found by listing only the folders that still wait for cells."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gradsiege import artifacts
from gradsiege.output import addressed
from gradsiege.pipeline.cells import Cell
from gradsiege.pipeline.status import DAMAGED, DONE, Status, status
from gradsiege.study import Study

Stamp = tuple[int, int, int]


class Watch:
    """The cells that are not dropped yet, as a tree of their folders.

    Only existing folders that still wait for a cell are read. They are listed each time, without a look at their
    modification times: on a network file system a listing asks the server, while a time may come from a cache.

    Args:
        cells: the cells to wait for.
        study: the resolved study.
        root: folder that holds ``results``.
    """

    def __init__(self, cells: Iterable[Cell], study: Study, root: Path) -> None:
        self.study = study
        self.root = root
        self.tree: dict[str, Any] = {}
        self.refused: dict[Cell, Stamp] = {}
        for cell in cells:
            *folders, last = self._parts(cell)
            node = self.tree
            for name in folders:
                node = node.setdefault(name, {})
            node[last] = cell

    def _parts(self, cell: Cell) -> list[str]:
        return [cell.stage, *cell.key.split("/")]

    def finished(self) -> list[Status]:
        """Return the cells that are done under the study's settings and not dropped yet."""
        return list(self._walk(self.tree, self.root / "results" / self.study.study))

    def drop(self, cell: Cell) -> None:
        """Forget a cell, and the folders without other cells."""
        way = [self.tree]
        *folders, last = self._parts(cell)
        for name in folders:
            way.append(way[-1][name])
        del way[-1][last]
        for node, name in zip(reversed(way[:-1]), reversed(folders), strict=True):
            if node[name]:
                return
            del node[name]

    def refuse(self, cell: Cell) -> None:
        """Skip a cell until its manifest changes."""
        self.refused[cell] = self._stamp(cell)

    def time_of(self, cell: Cell) -> float:
        """Return when a cell's manifest was written, in seconds since the epoch by the clock of its file system."""
        return self._stamp(cell)[0] / 1e9

    def _walk(self, node: dict[str, Any], folder: Path) -> Iterator[Status]:
        for name in sorted(_names(folder) & node.keys()):
            inner, below = node[name], folder / name
            if isinstance(inner, dict):
                yield from self._walk(inner, below)
            elif artifacts.MANIFEST in _names(below):
                yield from self._done(inner)

    def _done(self, cell: Cell) -> Iterator[Status]:
        stamp = self._stamp(cell)
        if self.refused.get(cell) == stamp:
            return
        cell_status = status(cell, self.study, self.root, {})
        if cell_status.state in DONE:
            yield cell_status
            return
        self.refused[cell] = stamp
        if cell_status.state == DAMAGED:
            print(addressed(f"track: {cell_status.reason}"), file=sys.stderr, flush=True)

    def _stamp(self, cell: Cell) -> Stamp:
        """Return the values that distinguish a manifest from its successor."""
        try:
            manifest = (cell.folder(self.study, self.root) / artifacts.MANIFEST).stat()
        except FileNotFoundError:
            return (0, 0, 0)
        return (manifest.st_mtime_ns, manifest.st_ino, manifest.st_size)


def _names(folder: Path) -> set[str]:
    """Return the names in a folder; none if it does not exist or another machine is replacing it."""
    try:
        return {path.name for path in folder.iterdir()}
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
            raise
        return set()
