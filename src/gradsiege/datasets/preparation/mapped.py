"""Arrays of bytes mapped from a file without a name, so that they may be larger than memory."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

import numpy as np

from gradsiege import artifacts
from gradsiege.datasets.preparation.splits import Bytes


def mapped_bytes(shape: tuple[int, ...], folder: Path | None = None) -> Bytes:
    """Return zeros of a shape, mapped from a file that is deleted with the array or when the process ends.

    `folder` holds the file, by default the system's folder for temporary files.

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
            # Reserve the space now: on a full disk, a later write to a page would kill the process without a message.
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(place)) from error
        return np.memmap(file, dtype=np.uint8, mode="r+", shape=shape)
