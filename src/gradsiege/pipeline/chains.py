"""The longest chain of work behind a cell: the shard with the longest one is started first, so that no core waits at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from gradsiege.pipeline.cells import Cell


def seconds_behind(
    cells: Mapping[str, Iterable[Cell]],
    seconds: Callable[[Cell], float],
    upstream: Callable[[Cell], Iterable[Cell]],
) -> dict[Cell, float]:
    """Return for every cell the estimated seconds of the longest chain of cells that wait for it, itself left out.

    Args:
        cells: by stage, in the order of the stages; a cell reads those of earlier stages alone.
        seconds: the estimate of one cell.
        upstream: the cells that a cell reads.

    >>> images, model, attack = Cell("fetch"), Cell("federate"), Cell("attack")
    >>> reads = {images: [], model: [images], attack: [model]}
    >>> cells = {"fetch": [images], "federate": [model], "attack": [attack]}
    >>> [*seconds_behind(cells, lambda cell: 10.0, reads.__getitem__).values()]
    [20.0, 10.0, 0.0]
    """
    ordered = [cell for of_stage in cells.values() for cell in of_stage]
    behind = dict.fromkeys(ordered, 0.0)
    for cell in reversed(ordered):
        chain = seconds(cell) + behind[cell]
        for other in upstream(cell):
            behind[other] = max(behind.get(other, 0.0), chain)
    return behind


def urgency(
    cells: Sequence[Cell], behind: Mapping[Cell, float], seconds: Callable[[Cell], float]
) -> int:
    """Return the whole seconds from the start of a shard of these cells to the end of all that waits for it.

    >>> model = Cell("federate")
    >>> urgency([model, model], {model: 30.0}, lambda cell: 10.0)
    50
    """
    return round(sum(map(seconds, cells)) + max(behind[cell] for cell in cells))
