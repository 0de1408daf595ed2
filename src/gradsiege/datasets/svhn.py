"""SVHN: 99,289 house numbers cut into digits, 32 px (Netzer et al., 2011), from the MATLAB files."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gradsiege.datasets.base import Dataset
from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.preparation.splits import Bytes, Integers
from gradsiege.datasets.sources.supply import File, Origin

VERSION = 1
OBTAINED = "downloaded"

CLASSES = tuple(str(digit) for digit in range(10))
NAMES = ("train_32x32.mat", "test_32x32.mat")
ADDRESS = "http://ufldl.stanford.edu/housenumbers"
# Bytes before the first array of a MATLAB 5 file.
HEADER = 128
ORIGIN = Origin(
    description="Digits of house numbers in street views, colour, 32x32 pixels.",
    source=f"Netzer et al., NIPS Workshop on Deep Learning, 2011, {ADDRESS}",
    licence="for non-commercial use only",
    sharing="public",
    steps="`gradsiege download svhn` gets it; no registration.",
    limits="Several digits of one house number stand in the set and are not marked as such.",
)


@dataclass(frozen=True)
class SVHN(Dataset):
    """`from_test`: roles that are dealt from the official test part; the others never are."""

    name = "svhn"
    origin = ORIGIN

    from_test: tuple[str, ...] = ("test",)

    def files(self) -> tuple[File, ...]:
        """Return the two files; checksums are torchvision's."""
        published = (
            ("e26dedcc434d2e4c54c9b2d4a06d8373", 182040794),
            ("eb5a983be6a315427106f1b164d9cef3", 64275384),
        )
        return tuple(
            File(name, f"md5:{digest}", size, f"{ADDRESS}/{name}")
            for name, (digest, size) in zip(NAMES, published, strict=True)
        )

    def listing(self, folder: Path) -> Listing:
        """List 73,257 training and 26,032 test images; the label 10 of the files is the digit 0."""
        parts = [_read(folder / name) for name in NAMES]
        pixels = [images for images, _ in parts]
        labels = np.concatenate([labels_of_part for _, labels_of_part in parts])
        first = pixels[0].shape[-1]

        def read(indices: Integers) -> Iterator[Bytes]:
            for index in indices.tolist():
                part, place = (0, index) if index < first else (1, index - first)
                yield np.ascontiguousarray(pixels[part][..., place])

        return Listing(CLASSES, labels % 10, read, np.arange(len(labels)) >= first)


def _read(path: Path) -> tuple[Bytes, Integers]:
    """Return images ``[32, 32, 3, n]`` and labels 1 to 10 of a file of plain arrays."""
    from scipy.io import loadmat

    with path.open("rb") as stream:
        header = stream.read(HEADER)
    if len(header) < HEADER or not header.startswith(b"MATLAB 5.0"):
        raise ValueError(f"{path.name} is not a MATLAB 5 file: delete it and get it again")
    try:
        arrays = loadmat(path, variable_names=["X", "y"])
    except (OSError, ValueError, zlib.error) as error:
        # Cut short at a byte, cut short at an array, damaged within a compressed one.
        raise ValueError(
            f"{path.name} is cut short or damaged ({error}): delete it and get it again"
        ) from error
    lacking = [name for name in ("X", "y") if name not in arrays]
    if lacking:
        raise ValueError(
            f"{path.name} holds no array {' and no '.join(lacking)}: delete it and get it again"
        )
    images, labels = arrays["X"], arrays["y"].ravel()
    if images.dtype != np.uint8 or images.shape != (32, 32, 3, len(labels)):
        raise ValueError(f"{path.name}: X is {images.dtype} {images.shape}, y has {len(labels)}")
    if labels.dtype.kind not in "ui" or not 1 <= labels.min() <= labels.max() <= 10:
        raise ValueError(f"{path.name}: labels are not 1 to 10")
    return images, labels.astype(np.int64)
