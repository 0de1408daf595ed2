"""Arrays of bytes in a file that has no name: memory holds of them what it has room for."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

import numpy as np

from gradsiege import artifacts
from gradsiege.datasets.preparation.splits import Bytes


def mapped_bytes(shape: tuple[int, ...], folder: Path | None = None) -> Bytes:
    """Return zeros of a shape, mapped from a file that goes when they go, or when the process dies.

    `folder` is where the file takes its room, by default the system's for temporary files.

    Raises:
        OSError: there is no room for all of them; the folder is named.

    >>> mapped_bytes((2, 3)).tolist()
    [[0, 0, 0], [0, 0, 0]]
    """
    size = math.prod(shape)
    if not size:
        return np.zeros(shape, dtype=np.uint8)
    place = Path(tempfile.gettempdir()) if folder is None else folder
    artifacts.make_folder(place)
    with tempfile.TemporaryFile(dir=place) as file:
        try:
            # Room that is only promised would end the process, without a word, when a page finds none.
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(place)) from error
        return np.memmap(file, dtype=np.uint8, mode="r+", shape=shape)
