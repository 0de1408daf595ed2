"""ChestMNIST: 112,120 frontal chest radiographs, grey, by their single finding (Yang et al., 2023)."""

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
    "no finding",
    "atelectasis",
    "cardiomegaly",
    "effusion",
    "infiltration",
    "mass",
    "nodule",
    "pneumonia",
    "pneumothorax",
    "consolidation",
    "edema",
    "emphysema",
    "fibrosis",
    "pleural thickening",
    "hernia",
)
CHECKSUMS = {
    28: "02c8a6516a18b556561a56cbdd36c4a8",
    64: "9de6cd0b934ebb5b7426cfba5efbae16",
    128: "db107e5590b27930b62dbaf558aebee3",
    224: "45bd33e6f06c3e8cdb481c74a89152aa",
}
ORIGIN = medmnist.origin(
    "Frontal chest radiographs of NIH's ChestX-ray14, grey",
    "Wang et al., CVPR 2017",
    limits="Patients are not named: images of one patient may stand in several roles of one official part. Labels were mined from text; "
    "images with several findings are left out.",
)
PUBLISHED = medmnist.Published("chestmnist", CLASSES, CHECKSUMS, multiple=True)


@dataclass(frozen=True)
class ChestMNIST(Dataset):
    """`resolution` of the published file in pixels; `from_test`: roles that are dealt from the official test part."""

    name = "medmnist_chest"
    origin = ORIGIN

    resolution: Literal[28, 64, 128, 224] = 28
    from_test: tuple[str, ...] = ("test",)

    def files(self) -> tuple[File, ...]:
        """Return the published file of the resolution."""
        return PUBLISHED.files(self.resolution)

    def listing(self, folder: Path) -> Listing:
        """List the images of the three official parts."""
        return PUBLISHED.listing(folder, self.resolution)
