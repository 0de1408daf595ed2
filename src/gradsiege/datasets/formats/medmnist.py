"""MedMNIST's ``.npz`` files: images and labels of three official parts, read without the package and without pickle.

The files are compressed, so they cannot be mapped into memory; images are read through in order, and only those that are
asked for are kept. ChestMNIST at 224 pixels would take 5.6 GB.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.preparation.splits import Bytes, Integers
from gradsiege.datasets.sources.supply import File, Origin

PARTS = ("train", "val", "test")
SIZES = (28, 64, 128, 224)
RECORD = "https://zenodo.org/records/10519652"


def origin(title: str, source: str, limits: str) -> Origin:
    """Return the common part of the origins of all MedMNIST sets."""
    return Origin(
        description=f"{title}, of MedMNIST v3 (Yang et al., Scientific Data, 2023).",
        source=f"{source}, through MedMNIST, {RECORD}",
        licence="CC BY 4.0",
        sharing="public",
        steps="`gradsiege download` gets it, by name or for a whole --study; no registration.",
        limits=limits,
    )


@dataclass(frozen=True)
class Published:
    """One set of MedMNIST.

    Attributes:
        flag: what its files are called.
        classes: their names.
        checksums: MedMNIST's own md5 by resolution.
        multiple: labels are findings that may coincide, and the first class is that of none.
    """

    flag: str
    classes: tuple[str, ...]
    checksums: dict[int, str]
    multiple: bool = False

    def files(self, resolution: int) -> tuple[File, ...]:
        """Return the published file of the resolution."""
        name = f"{self.flag}.npz" if resolution == 28 else f"{self.flag}_{resolution}.npz"
        address = f"{RECORD}/files/{name}?download=1"
        return (File(name, f"md5:{self.checksums[resolution]}", url=address),)

    def listing(self, folder: Path, resolution: int) -> Listing:
        """List the images of the three official parts."""
        path = folder / self.files(resolution)[0].path
        return list_npz(path, self.classes, self.multiple)


def single_finding(labels: Integers) -> tuple[Integers, Integers]:
    """Turn findings, 0 or 1 ``[n, k]``, into classes: 0 for none, 1 + k for the only one; others are left out.

    Returns:
        (indices of the images that are kept, their classes).

    >>> kept, classes = single_finding(np.array([[0, 0], [0, 1], [1, 1]]))
    >>> kept.tolist(), classes.tolist()
    ([0, 1], [0, 2])
    """
    kept = np.flatnonzero(labels.sum(1) <= 1)
    return kept, np.where(labels[kept].any(1), labels[kept].argmax(1) + 1, 0)


def list_npz(path: Path, classes: tuple[str, ...], multiple: bool = False) -> Listing:
    """List the images of a file; `val` belongs to the training part.

    `multiple`: labels are findings that may coincide, and the first class is that of none.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            of_parts = [np.asarray(arrays[f"{part}_labels"], dtype=np.int64) for part in PARTS]
    except (OSError, ValueError, KeyError, MemoryError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path.name} is not a file of MedMNIST: {error}") from error
    ends = np.cumsum([0, *(len(labels) for labels in of_parts)])
    labels = np.concatenate(of_parts)
    kept, findings = single_finding(labels) if multiple else (np.arange(len(labels)), labels[:, 0])
    if findings.max(initial=-1) >= len(classes) or findings.min(initial=0) < 0:
        raise ValueError(f"{path.name} has labels that are none of its {len(classes)} classes")

    def read(indices: Integers) -> Iterator[Bytes]:
        wanted = kept[indices]
        for part, (first, end) in zip(PARTS, pairwise(ends.tolist()), strict=True):
            inside = wanted[(first <= wanted) & (wanted < end)] - first
            if len(inside):
                yield from _stream(path, f"{part}_images.npy", end - first, inside)

    return Listing(classes, findings, read, kept >= ends[2])


def _stream(path: Path, member: str, number: int, wanted: Integers) -> Iterator[Bytes]:
    """Read through one array of images and yield those of ascending indices."""
    with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
        version = npy.read_magic(stream)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, kind = header(stream)
        known = len(shape) in (3, 4) and shape[1] == shape[2] <= max(SIZES)
        fits = known and shape[0] == number and shape[3:] in ((), (3,))
        if kind != np.uint8 or fortran or not fits:
            raise ValueError(
                f"{path.name}: {member} is {kind} {shape}, not {number} images of bytes"
            )
        length, position = int(np.prod(shape[1:])), 0
        for index in wanted.tolist():
            stream.seek((index - position) * length, 1)
            content = stream.read(length)
            if len(content) != length:
                raise ValueError(f"{path.name}: {member} is truncated; get it again")
            position = index + 1
            yield np.frombuffer(content, dtype=np.uint8).reshape(shape[1:])
