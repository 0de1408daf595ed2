"""Labeled Faces in the Wild, scikit-image's subset: 100 faces and 100 non-faces.

Real, grey, 25 by 25 pixels, resized and replicated to three channels. Small: it serves as an
out-of-distribution prior and as a two-class toy, not as a benchmark.
"""

from __future__ import annotations

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

CLASSES = ("non_face", "face")

# Sixteen of the non-faces show next to nothing: grey levels (0 to 255) that deviate less than this.
MINIMUM_DEVIATION = 8.0

SOURCE = {
    "name": "lfw_subset",
    "file": "skimage/data/lfw_subset.npy",
    "sha256": "9560ec2f5edfac01973f63a8a99d00053fecd11e21877e18038fbe500f8e872c",
    "origin": "Labeled Faces in the Wild, http://vis-www.cs.umass.edu/lfw/ (Huang, Mattar, Lee and "
    "Learned-Miller, NIPS 2012), through scikit-image",
    "licence": "not stated by scikit-image, which ships the file; the photographs of LFW are news "
    "pictures collected for research",
}


@dataclass(frozen=True)
class Faces(Dataset):
    """Patches with and without a face; no parameters."""

    name = "faces"

    def prepare(
        self, size: int, counts: Mapping[str, int], seed: int, folder: Path | None = None
    ) -> Prepared:
        """Deal the patches to roles, each to one role only; ``groups`` is the patch number."""
        check_request("faces", counts, seed)
        splits = deal_whole("faces", load(), size, counts, seed)
        card = make_card(
            name="faces",
            version=VERSION,
            size=size,
            seed=seed,
            synthetic=False,
            description="100 face and 100 non-face patches, grey, 25x25 pixels, bicubically resized "
            "and replicated to three channels.",
            sources=[SOURCE],
            rule="Whole patches are dealt to roles, class by class, from a seeded permutation; exact "
            "repetitions, and patches whose grey levels have a standard deviation under "
            f"{MINIMUM_DEVIATION:g} of 255, are dropped first. No patch stands in two roles.",
            limits="The source names no persons: two patches of one person may stand in two roles.",
            classes=CLASSES,
            splits=splits,
        )
        return Prepared("faces", size, CLASSES, splits, card)


def load() -> tuple[Bytes, Integers, Integers]:
    """Read the patches, uint8 ``[184, 25, 25]``, their labels and their numbers in the source."""
    content = packaged_file("skimage", "data/lfw_subset.npy", SOURCE["sha256"])
    grey = np.load(io.BytesIO(content), allow_pickle=False)
    patches = np.rint(grey * 255).astype(np.uint8)
    labels = np.repeat(np.array([1, 0], dtype=np.int64), 100)
    kept = first_occurrences(patches)
    kept = kept[patches[kept].std(axis=(1, 2)) >= MINIMUM_DEVIATION]
    return patches[kept], labels[kept], kept
