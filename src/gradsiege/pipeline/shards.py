"""Shards: cells of one stage that one process computes one after the other.

Starting a process costs seconds (libraries, a GPU's context, compiled kernels), and a cluster wants jobs of about an
hour. The cells of a shard share a network; observations, attacks and scores share a federation (model,
defense, seed) and hence its checkpoints. Each cell still has its own files, digest, log and failure.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from gradsiege.pipeline import workload
from gradsiege.pipeline.cells import Cell, digest, upstream
from gradsiege.pipeline.stage import STAGES
from gradsiege.study import Study


@dataclass(frozen=True)
class Shard:
    """Cells of one stage, and a name that is a hash of their digests."""

    name: str
    cells: tuple[Cell, ...]


def shard(cells: tuple[Cell, ...], study: Study) -> Shard:
    """Return the shard of these cells."""
    text = " ".join(digest(cell, study) for cell in cells)
    return Shard(hashlib.sha256(text.encode()).hexdigest()[:16], cells)


def shards(
    cells: Iterable[Cell], study: Study, minutes: float, alone: Collection[Cell] = ()
) -> list[Shard]:
    """Cut the cells of one stage into shards of about `minutes` estimated minutes; with 0 every cell is a shard.

    Cells of one checkpoint are neighbours. A cell that is longer than a shard is a shard of its own, and so is
    every cell in `alone`.
    """
    cells = list(cells)

    def shared(cell: Cell) -> tuple[object, ...]:
        return tuple(getattr(cell, name) for name in STAGES[cell.stage].shares)

    cut = [shard((cell,), study) for cell in cells if cell in alone]
    others = sorted((c for c in cells if c not in alone), key=lambda cell: (shared(cell), cell))
    for _, group in itertools.groupby(others, shared):
        cut += [shard(part, study) for part in _cut(list(group), study, 60 * minutes)]
    return cut


def after(broken: Collection[str], cells: Mapping[str, list[Cell]], study: Study) -> set[Cell]:
    """Return the cells with these digests and all cells that read them, directly or indirectly.

    A shard waits for all that its cells read. A cell that waits for a broken one therefore gets a shard of its own.
    """
    waiting: set[Cell] = set()
    for cell in (cell for of_stage in cells.values() for cell in of_stage) if broken else ():
        if digest(cell, study) in broken or not waiting.isdisjoint(upstream(cell, study)):
            waiting.add(cell)
    return waiting


def _cut(cells: list[Cell], study: Study, limit: float) -> list[tuple[Cell, ...]]:
    """Split a list of cells where the sum of their seconds would pass the limit."""
    parts: list[list[Cell]] = [[]]
    spent = 0.0
    for cell in cells:
        seconds = workload.seconds(cell, study)
        if parts[-1] and spent + seconds > limit:
            parts.append([])
            spent = 0.0
        parts[-1].append(cell)
        spent += seconds
    return [tuple(part) for part in parts]
