"""MNIST's IDX format: two zero bytes, type, number of axes, their lengths (big endian), then the values."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.preparation.splits import Bytes, Integers

# The official training and test parts, as MNIST and its like name their files.
PARTS = ("train", "t10k")
UNSIGNED_BYTES = 8
MOST_VALUES = 2**28


def read_idx(path: Path, axes: int) -> Bytes:
    """Read a gzipped array of unsigned bytes with `axes` axes.

    Raises:
        ValueError: when the file has another format, is truncated, or is longer than its header says.
    """
    try:
        with gzip.open(path) as stream:
            zeros, kind, rank = struct.unpack(">HBB", stream.read(4))
            if (zeros, kind, rank) != (0, UNSIGNED_BYTES, axes):
                raise ValueError(f"{path.name} is not an IDX file of bytes with {axes} axes")
            shape = struct.unpack(f">{axes}I", stream.read(4 * axes))
            length = math.prod(shape)
            if length > MOST_VALUES:
                raise ValueError(f"{path.name} claims {length} values, more than {MOST_VALUES}")
            content = stream.read(length + 1)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise ValueError(f"{path.name} cannot be read: {error}; get it again") from error
    if len(content) != length:
        raise ValueError(f"{path.name} is truncated or has another shape than its header says")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def list_parts(folder: Path, classes: Sequence[str], name: str) -> Listing:
    """List the grey images of both official parts of a data set that is laid out as MNIST is.

    Raises:
        ValueError: when a file cannot be read, or a part has not as many labels as images.
    """
    images = [read_idx(folder / f"{part}-images-idx3-ubyte.gz", 3) for part in PARTS]
    labels = [read_idx(folder / f"{part}-labels-idx1-ubyte.gz", 1) for part in PARTS]
    if [len(part) for part in images] != [len(part) for part in labels]:
        raise ValueError(f"{name}: images and labels are of different number; get them again")
    pixels = np.concatenate(images)

    def read(indices: Integers) -> Iterator[Bytes]:
        yield from pixels[indices]

    tested = np.arange(len(pixels)) >= len(images[0])
    return Listing(tuple(classes), np.concatenate(labels).astype(np.int64), read, tested)
