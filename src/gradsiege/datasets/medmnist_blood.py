"""BloodMNIST: 17,092 microscope images of single blood cells of eight kinds (Yang et al., 2023)."""

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

CLASSES = (
    "basophil",
    "eosinophil",
    "erythroblast",
    "immature granulocyte",
    "lymphocyte",
    "monocyte",
    "neutrophil",
    "platelet",
)
CHECKSUMS = {
    28: "7053d0359d879ad8a5505303e11de1dc",
    64: "2b94928a2ae4916078ca51e05b6b800b",
    128: "adace1e0ed228fccda1f39692059dd4c",
    224: "b718ff6835fcbdb22ba9eacccd7b2601",
}
ORIGIN = medmnist.origin(
    "Single blood cells under the microscope, colour",
    "Acevedo et al., Data in Brief, 2020",
    limits="Donors are not named: cells of one donor may stand in several roles.",
)
PUBLISHED = medmnist.Published("bloodmnist", CLASSES, CHECKSUMS)


@dataclass(frozen=True)
class BloodMNIST(Dataset):
    """`resolution` of the published file in pixels; `from_test`: roles that are dealt from the official test part."""

    name = "medmnist_blood"
    origin = ORIGIN

    resolution: Literal[28, 64, 128, 224] = 28
    from_test: tuple[str, ...] = ("test",)

    def files(self) -> tuple[File, ...]:
        """Return the published file of the resolution."""
        return PUBLISHED.files(self.resolution)

    def listing(self, folder: Path) -> Listing:
        """List the images of the three official parts."""
        return PUBLISHED.listing(folder, self.resolution)
