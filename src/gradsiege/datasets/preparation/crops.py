"""Cutting one photograph: regions owned by roles, and the square crops inside them.

Boxes are int64 rows ``(y0, x0, y1, x1)`` in pixels of the photograph, ends exclusive.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from gradsiege.datasets.preparation.splits import Bytes, Integers

# Cells along each side of a photograph.
GRID = 4

# Cells each role owns in every photograph: they sum to the cells of the grid.
CELLS = {"train": 5, "aux": 4, "test": 2, "public": 2, "tune": 1, "victims": 2}

# Sides of crops, in geometric steps from the wanted size to the shorter side of the region.
RUNGS = 6

# Positions tried along the shorter side of a region, at each scale.
STEPS = 24

# A crop is not empty if the green levels (0 to 255) of two of its quarters have at least this standard deviation.
# One quarter is not enough: a black crop with a bright corner would pass.
MINIMUM_DEVIATION = 8.0

# A region where fewer of the crops than this pass that test cannot be all that a role owns.
LIVELY_SHARE = 0.3


@dataclass(frozen=True)
class Crops:
    """Candidate crops: ``boxes`` int64 ``[m, 4]`` and the scale ``rungs`` int64 ``[m]``."""

    boxes: Integers
    rungs: Integers

    def __getitem__(self, index: npt.NDArray[np.bool_] | Integers) -> Crops:
        return Crops(self.boxes[index], self.rungs[index])

    def __len__(self) -> int:
        return len(self.boxes)


def grid(height: int, width: int) -> Integers:
    """Return the cells of a photograph, int64 ``[16, 4]``, covering it without overlap.

    >>> grid(300, 400)[[0, -1]].tolist()
    [[0, 0, 75, 100], [225, 300, 300, 400]]
    """
    rows = np.linspace(0, height, GRID + 1).round().astype(np.int64)
    columns = np.linspace(0, width, GRID + 1).round().astype(np.int64)
    return np.array([(y0, x0, y1, x1) for y0, y1 in pairwise(rows) for x0, x1 in pairwise(columns)])


def shows_something(table: Integers, boxes: Integers) -> npt.NDArray[np.bool_]:
    """Return, for each box, whether two of its quarters deviate enough, bool ``[m]``.

    ``table`` comes from `summed_areas`.
    """
    of_quarters = np.sort([deviations(table, part) for part in quarters(boxes)], axis=0)
    enough: npt.NDArray[np.bool_] = of_quarters[-2] >= MINIMUM_DEVIATION
    return enough


def quarters(boxes: Integers) -> list[Integers]:
    """Divide every box into four.

    >>> [part.tolist() for part in quarters(np.array([[0, 0, 4, 4]]))]
    [[[0, 0, 2, 2]], [[0, 2, 2, 4]], [[2, 0, 4, 2]], [[2, 2, 4, 4]]]
    """
    y0, x0, y1, x1 = boxes.T
    y, x = (y0 + y1) // 2, (x0 + x1) // 2
    corners = [(y0, x0, y, x), (y0, x, y, x1), (y, x0, y1, x), (y, x, y1, x1)]
    return [np.stack(corner, axis=1) for corner in corners]


def inside(region: Integers, sides: Integers) -> Crops:
    """List the crops of the given sides that lie inside a region, flat ones included."""
    boxes, rungs = [], []
    for rung, side in enumerate(sides):
        ys, xs = positions(region, int(side))
        y, x = (axis.ravel() for axis in np.meshgrid(ys, xs, indexing="ij"))
        boxes.append(np.stack([y, x, y + side, x + side], axis=1))
        rungs.append(np.full(len(y), rung, dtype=np.int64))
    return Crops(np.concatenate(boxes), np.concatenate(rungs))


def positions(region: Integers, side: int) -> tuple[Integers, Integers]:
    """Return the rows and the columns at which crops of one side are tried.

    >>> [axis.tolist() for axis in positions(np.array([0, 10, 34, 45]), 32)]
    [[0, 1, 2], [10, 11, 12, 13]]
    """
    y0, x0, y1, x1 = region.tolist()
    stride = max(1, (min(y1 - y0, x1 - x0) - side) // STEPS)
    return np.arange(y0, y1 - side + 1, stride), np.arange(x0, x1 - side + 1, stride)


def ladder(size: int, longest: int) -> Integers:
    """Return the sides of the crops, from ``size`` to ``longest`` in geometric steps.

    >>> ladder(32, 128).tolist()
    [32, 42, 56, 74, 97, 128]
    """
    return np.unique(np.geomspace(size, longest, RUNGS).round().astype(np.int64))


def summed_areas(level: Bytes) -> Integers:
    """Sum levels and their squares over all boxes that start in the corner of the picture.

    Args:
        level: uint8 ``[height, width]``.

    Returns:
        int64 ``[2, height + 1, width + 1]``, exact, from which the sum inside any box is four reads.
    """
    wide = level.astype(np.int64)
    padded = np.pad(np.stack([wide, wide**2]), ((0, 0), (1, 0), (1, 0)))
    return padded.cumsum(axis=1).cumsum(axis=2)


def deviations(table: Integers, boxes: Integers) -> npt.NDArray[np.float64]:
    """Return the standard deviation of the levels in each box, float64 ``[m]``.

    >>> table = summed_areas(np.array([[0, 8], [0, 8]], dtype=np.uint8))
    >>> deviations(table, np.array([[0, 0, 2, 2], [0, 1, 2, 2]])).tolist()
    [4.0, 0.0]
    """
    y0, x0, y1, x1 = boxes.T
    sums = table[:, y1, x1] - table[:, y0, x1] - table[:, y1, x0] + table[:, y0, x0]
    mean, mean_square = sums / ((y1 - y0) * (x1 - x0))
    deviation: npt.NDArray[np.float64] = np.sqrt(np.maximum(mean_square - mean**2, 0))
    return deviation


def deal_cells(lively: npt.NDArray[np.bool_], rng: np.random.Generator) -> dict[str, Integers]:
    """Give every role its number of cells, at random, at least one of them lively.

    ``lively``, bool ``[16]``, tells whether enough of the crops inside a cell show something.
    Returns the indices of the cells of each role.
    """
    if lively.sum() < len(CELLS):
        raise ValueError(f"only {lively.sum()} of {len(lively)} cells show enough for a role")
    ends = np.cumsum(list(CELLS.values()))[:-1]
    while True:
        hands = np.split(rng.permutation(len(lively)), ends)
        if all(lively[hand].any() for hand in hands):
            return dict(zip(CELLS, hands, strict=True))


def draw(crops: Crops, number: int, rng: np.random.Generator) -> Integers:
    """Choose ``number`` different crops, every scale having the same chance.

    Weighted sampling without replacement by exponential keys (Efraimidis and Spirakis, 2006):
    without the weights, small crops would crowd out large ones, which have fewer positions.
    """
    weights = 1 / np.bincount(crops.rungs)[crops.rungs]
    keys = rng.exponential(size=len(crops)) / weights
    return np.argsort(keys, kind="stable")[:number]


def draw_apart(crops: Crops, number: int, rng: np.random.Generator) -> Integers:
    """Choose ``number`` different crops that overlap little, taking the scales in turn.

    Victims are the sampling unit of the study, so two of them should not be one view shifted by a
    pixel. Each pick minimises its largest overlap with the picks before it.
    """
    shuffled = rng.permutation(len(crops))
    turns = rng.permutation(np.unique(crops.rungs))
    worst = np.zeros(len(crops))
    chosen: list[int] = []
    while len(chosen) < number:
        rung = turns[len(chosen) % len(turns)]
        pool = shuffled[(crops.rungs[shuffled] == rung) & np.isfinite(worst[shuffled])]
        if len(pool) == 0:  # this scale is used up: any other will do
            pool = shuffled[np.isfinite(worst[shuffled])]
        pick = int(pool[np.argmin(worst[pool])])
        worst = np.maximum(worst, overlap(crops.boxes, crops.boxes[pick]))
        worst[pick] = np.inf
        chosen.append(pick)
    return np.array(chosen, dtype=np.int64)


def overlap(boxes: Integers, box: Integers) -> npt.NDArray[np.float64]:
    """Return the area shared with one box as a fraction of the smaller of the two, float64 ``[m]``.

    >>> overlap(np.array([[0, 0, 2, 2], [0, 0, 4, 4]]), np.array([1, 1, 5, 5])).tolist()
    [0.25, 0.5625]
    """
    top_left = np.maximum(boxes[:, :2], box[:2])
    shared = np.clip(np.minimum(boxes[:, 2:], box[2:]) - top_left, 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    fraction: npt.NDArray[np.float64] = shared / np.minimum(areas, (box[2:] - box[:2]).prod())
    return fraction
