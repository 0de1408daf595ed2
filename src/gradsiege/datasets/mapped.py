"""Arrays of bytes in a file that has no name: memory holds of them what it has room for."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np

from gradsiege.datasets.splits import Bytes


def mapped_bytes(shape: tuple[int, ...], folder: Path | None = None) -> Bytes:
    """Return zeros of a shape, mapped from a file that goes when they go, or when the process dies.

    `folder` is where the file takes its room, by default the system's for temporary files.

    >>> mapped_bytes((2, 3)).sum()
    memmap(0, dtype=uint64)
    """
    if not math.prod(shape):
        return np.zeros(shape, dtype=np.uint8)
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)
