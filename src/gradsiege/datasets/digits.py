"""Handwritten digits, scikit-learn's copy of the UCI test set: 1797 images, 8 by 8 pixels.

Real, grey, enlarged and replicated to three channels. Far from photographs, which is what makes it
useful as an out-of-distribution prior.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gradsiege.datasets.base import Dataset
from gradsiege.datasets.preparation.splits import (
    Bytes,
    Integers,
    Prepared,
    check_request,
    first_occurrences,
    make_card,
)
from gradsiege.datasets.preparation.whole import deal_whole
from gradsiege.datasets.sources.packaged import packaged_file

VERSION = 1
OBTAINED = "shipped"

CLASSES = tuple(str(digit) for digit in range(10))

SOURCE = {
    "name": "optdigits",
    "file": "sklearn/datasets/data/digits.csv.gz",
    "sha256": "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22",
    "origin": "UCI Optical Recognition of Handwritten Digits, test set (Alpaydin and Kaynak, "
    "1998), https://archive.ics.uci.edu/ml/datasets/Optical+Recognition+of+Handwritten+Digits, "
    "through scikit-learn",
    "licence": "not stated by scikit-learn, which ships the file",
}


@dataclass(frozen=True)
class Digits(Dataset):
    """Handwritten digits; no parameters."""

    name = "digits"

    def prepare(
        self, size: int, counts: Mapping[str, int], seed: int, folder: Path | None = None
    ) -> Prepared:
        """Deal the images to roles, each to one role only; ``groups`` is the image number."""
        check_request("digits", counts, seed)
        splits = deal_whole("digits", load(), size, counts, seed)
        card = make_card(
            name="digits",
            version=VERSION,
            size=size,
            seed=seed,
            synthetic=False,
            description="Handwritten digits, grey, 8x8 pixels of 17 levels, white on black, "
            "bicubically enlarged and replicated to three channels.",
            sources=[SOURCE],
            rule="Whole images are dealt to roles, class by class, from a seeded permutation; exact "
            "repetitions are dropped first, so no image stands in two roles.",
            limits="The 13 writers are not named: one writer stands in several roles.",
            classes=CLASSES,
            splits=splits,
        )
        return Prepared("digits", size, CLASSES, splits, card)


def load() -> tuple[Bytes, Integers, Integers]:
    """Read the bitmaps, uint8 ``[1797, 8, 8]``, their labels and their numbers in the source."""
    content = packaged_file("sklearn", "datasets/data/digits.csv.gz", SOURCE["sha256"])
    rows = np.loadtxt(io.BytesIO(gzip.decompress(content)), delimiter=",", dtype=np.int64)
    bitmaps = np.rint(rows[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    kept = first_occurrences(bitmaps)
    return bitmaps[kept], rows[kept, 64], kept
