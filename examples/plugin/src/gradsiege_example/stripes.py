"""Stripes that lie or stand, drawn from a seed: an example of a data set."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gradsiege.datasets.base import Dataset
from gradsiege.datasets.preparation.splits import Prepared, Split, check_request, make_card
from gradsiege.ranges import Count

VERSION = 1
OBTAINED = "shipped"
CLASSES = ("lying", "standing")


@dataclass(frozen=True)
class Stripes(Dataset):
    """Width of a stripe in pixels."""

    name = "stripes"

    width: Count = 2

    def prepare(
        self, size: int, counts: Mapping[str, int], seed: int, folder: Path | None = None
    ) -> Prepared:
        """Draw the splits; every image is a group of its own."""
        check_request(self.name, counts, seed)
        random = np.random.default_rng(seed)
        splits = {role: self._split(counts[role], size, random) for role in counts}
        card = make_card(
            name=self.name,
            version=VERSION,
            size=size,
            seed=seed,
            synthetic=True,
            description="Stripes in one colour on another one.",
            sources=[{"name": "stripes", "origin": "drawn", "licence": "Apache-2.0"}],
            rule="Every image has colours of its own.",
            limits="Synthetic.",
            classes=CLASSES,
            splits=splits,
        )
        return Prepared(self.name, size, CLASSES, splits, card)

    def _split(self, count: int, size: int, random: np.random.Generator) -> Split:
        labels = np.arange(count) % 2
        stripe = np.arange(size) // self.width % 2
        colours = random.integers(0, 256, (count, 2, 3), dtype=np.uint8)
        standing = colours[:, stripe].transpose(0, 2, 1)[:, :, None, :].repeat(size, 2)
        lying = standing.swapaxes(2, 3)
        images = np.where((labels == 1)[:, None, None, None], standing, lying)
        return Split(np.ascontiguousarray(images), labels, np.arange(count))
