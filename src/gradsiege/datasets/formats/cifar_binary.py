"""CIFAR's binary version: records of label bytes and 3072 pixels, channel after channel, in a tar archive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from gradsiege.datasets.formats.archives import tar_members
from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.preparation.splits import Bytes, Integers

PIXELS = 3 * 32 * 32
MOST_RECORDS = 50_000


def list_archive(
    archive: Path, train: Sequence[str], test: Sequence[str], names: str, label_bytes: int
) -> Listing:
    """List the images of an archive.

    Args:
        archive: the published ``.tar.gz``.
        train, test: members that hold records, of the two official parts.
        names: member with one class name per line.
        label_bytes: bytes before the pixels; the last of them is the label (CIFAR-100 has a coarse one before it).
    """
    length = label_bytes + PIXELS
    members = tar_members(archive, [*train, *test, names], MOST_RECORDS * length)
    parts = [_records(members[name], name, length) for name in (*train, *test)]
    records = np.concatenate(parts)
    labels = records[:, label_bytes - 1].astype(np.int64)
    classes = tuple(members[names].decode("ascii").split())
    if labels.max(initial=-1) >= len(classes):
        raise ValueError(f"{archive.name} has label {labels.max()}, but {len(classes)} class names")
    tested = np.repeat([0] * len(train) + [1] * len(test), [len(part) for part in parts]) == 1

    def read(indices: Integers) -> Iterator[Bytes]:
        for index in indices.tolist():
            planes = records[index, label_bytes:].reshape(3, 32, 32)
            yield np.ascontiguousarray(planes.transpose(1, 2, 0))

    return Listing(classes, labels, read, tested)


def _records(content: bytes, name: str, length: int) -> Bytes:
    if not content or len(content) % length:
        raise ValueError(f"{name} has {len(content)} bytes, no multiple of its record of {length}")
    return np.frombuffer(content, dtype=np.uint8).reshape(-1, length)
