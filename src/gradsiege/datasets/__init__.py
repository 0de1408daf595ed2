"""Data sets: images cut into role splits that share nothing.

Every data set is one module of this package with a literal ``VERSION`` and a ``prepare``. Nothing
is loaded before it is asked for: importing this package costs nothing but the standard library.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradsiege.datasets.splits import Prepared

NAMES = ("photos", "faces", "digits", "phantom")

__all__ = ["NAMES", "prepare"]


def prepare(name: str, size: int, counts: Mapping[str, int], seed: int) -> Prepared:
    """Build the role splits of one data set in memory.

    Parameters
    ----------
    name
        One of ``NAMES``.
    size
        Side of the square images in pixels.
    counts
        Images wanted for each role; a role that is not named gets no split.
    seed
        Non-negative integer from which every random choice is derived.

    Returns:
    -------
    Prepared
        uint8 images ``[n, 3, size, size]`` with labels, for each role, and the data card.

    Raises:
    ------
    ValueError
        For an unknown name or role, a size the source cannot give, or a count larger than the
        number of images that exist.
    """
    if name not in NAMES:
        close = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise ValueError(f"unknown data set '{name}': {hint}known are {', '.join(NAMES)}")
    module = importlib.import_module(f"gradsiege.datasets.{name}")
    prepared: Prepared = module.prepare(size, counts, seed)
    return prepared
