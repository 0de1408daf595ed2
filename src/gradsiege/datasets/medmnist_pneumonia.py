"""PneumoniaMNIST: 5,856 chest radiographs of children, grey, with and without pneumonia (Yang et al., 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gradsiege.datasets.base import Dataset
from gradsiege.datasets.formats import medmnist
from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.sources.supply import File

VERSION = 1
OBTAINED = "downloaded"

CLASSES = ("normal", "pneumonia")
CHECKSUMS = {
    28: "28209eda62fecd6e6a2d98b1501bb15f",
    64: "8f4eceb4ccffa70c672198ea285246c6",
    128: "05b46931834c231683c68f40c47b2971",
    224: "d6a3c71de1b945ea11211b03746c1fe1",
}
ORIGIN = medmnist.origin(
    "Chest radiographs of children, grey",
    "Kermany et al., Cell, 2018",
    limits="Patients are not named: images of one patient may stand in several roles of one official part.",
)
PUBLISHED = medmnist.Published("pneumoniamnist", CLASSES, CHECKSUMS)


@dataclass(frozen=True)
class PneumoniaMNIST(Dataset):
    """`resolution` of the published file in pixels; `from_test`: roles that are dealt from the official test part."""

    name = "medmnist_pneumonia"
    origin = ORIGIN

    resolution: Literal[28, 64, 128, 224] = 28
    from_test: tuple[str, ...] = ("test",)

    def files(self) -> tuple[File, ...]:
        """Return the published file of the resolution."""
        return PUBLISHED.files(self.resolution)

    def listing(self, folder: Path) -> Listing:
        """List the images of the three official parts."""
        return PUBLISHED.listing(folder, self.resolution)
