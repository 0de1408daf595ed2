"""Pictures in memory, and the choice of some out of many: class after class in turn, by a fixed seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gradsiege.seeds import numpy_generator

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of one size.

    Attributes:
        images: ``[n, c, h, w]`` in [0, 1].
        labels: int64 ``[n]``, or None where the source has none.
        groups: int64 ``[n]``, what a picture shows (a patient, a scene); None where every picture is a group of its own.
        classes: names of the labels; empty where they are plain numbers.
        remarks: sentences about what was left out or changed.
        names: of the pictures, as messages name them.
    """

    images: Tensor
    labels: Tensor | None
    groups: Tensor | None = None
    classes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def partly_read(read: int, held: int, by_class: bool) -> tuple[str, ...]:
    """Return a remark where a source holds more pictures than are read; `by_class`: whether it has labels.

    >>> partly_read(700, 1797, True), partly_read(700, 700, True)
    (('700 of 1,797 pictures were read, class after class in turn',), ())
    """
    how = "class after class in turn" if by_class else "chosen by a fixed seed"
    return (f"{read:,} of {held:,} pictures were read, {how}",) if read < held else ()


def turns(labels: Integers, most: int) -> Integers:
    """Return indices of at most `most` pictures: one of every class in turn, in an order drawn from a fixed seed.

    >>> sorted(np.array([5, 5, 5, 7])[turns(np.array([5, 5, 5, 7]), 2)].tolist())
    [5, 7]
    """
    order = numpy_generator(0, "audit", "pictures").permutation(len(labels))
    place = np.zeros(len(labels), dtype=np.int64)
    seen: dict[int, int] = {}
    for index in order.tolist():
        label = int(labels[index])
        place[index] = seen[label] = seen.get(label, -1) + 1
    return order[np.argsort(place[order], kind="stable")][:most]
