"""Shards: cells of one stage that one process computes one after the other.

Starting a process costs seconds (libraries, a GPU's context, compiled kernels), and a cluster wants jobs of about an
hour. The cells of a shard share a data set and a network. Each cell still has its own files, digest, log and failure.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import operator
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from gradsiege.pipeline import workload
from gradsiege.pipeline.cells import Cell, digest, upstream
from gradsiege.pipeline.stage import STAGES
from gradsiege.study import Study

# The cells of a network are cut into so many shards at least, so that several processes share the work, unless shards were
# shorter than this.
PARTS = 4
LEAST_SECONDS = 60.0


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
    """Cut the cells of one stage into shards of about `minutes` estimated minutes or less; with 0 every cell is a shard.

    Cells of one federation are neighbours. Every cell in `alone` is a shard of its own. A shard waits for all that its
    cells read. Those that read a shadow generator, which is trained first, are therefore not with those that do not.
    """
    cells = list(cells)

    def shared(cell: Cell) -> tuple[object, ...]:
        alike = tuple(getattr(cell, name) for name in STAGES[cell.stage].shares)
        return (*alike, any(other.stage == "shadow" for other in upstream(cell, study)))

    parts = [shard((cell,), study) for cell in cells if cell in alone]
    others = sorted((c for c in cells if c not in alone), key=lambda cell: (shared(cell), cell))
    for _, group in itertools.groupby(others, shared):
        parts += [shard(part, study) for part in _cut(list(group), study, 60 * minutes)]
    return parts


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
    """Split a list of cells into parts of about equal estimated seconds, near the limit or below it, and the last part in two.

    The halves have the least priority and fill the gap at the end, when one process has finished its parts and another has not.
    """
    if not limit:
        return [(cell,) for cell in cells]
    needed = [workload.seconds(cell, study) for cell in cells]
    total = sum(needed)
    count = max(math.ceil(total / limit), min(PARTS, round(total / LEAST_SECONDS)), 1)
    # A cell belongs to the part that its middle falls into.
    middles = (end - own / 2 for end, own in zip(itertools.accumulate(needed), needed, strict=True))
    places = (count * middle / total for middle in middles)
    halved = count - 0.5 if count > 1 else math.inf
    numbered = zip((int(place) + (place >= halved) for place in places), cells, strict=True)
    parts = [
        [cell for _, cell in part]
        for _, part in itertools.groupby(numbered, key=operator.itemgetter(0))
    ]
    return [_turned(part, place) for place, part in enumerate(parts)]


def _turned(cells: list[Cell], place: int) -> tuple[Cell, ...]:
    """Return the cells of the shard at this place in the order of their attacks, from another attack on at each place.

    The attacks of an entry share a compiled program. Processes that started with the same one would wait for one compiler.
    """
    attacks = sorted({cell.attack for cell in cells})
    turn = {attack: (at - place) % len(attacks) for at, attack in enumerate(attacks)}
    return tuple(sorted(cells, key=lambda cell: turn[cell.attack]))
