"""ChestMNIST: 112,120 frontal chest radiographs, grey, by their single finding (Yang et al., 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gradsiege.datasets.formats import medmnist
from gradsiege.ranges import Checked

VERSION = 1

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


@dataclass(frozen=True)
class Parameters(Checked):
    """`resolution` of the published file in pixels; `from_test`: roles that are dealt from the official test part."""

    resolution: Literal[28, 64, 128, 224] = 28
    from_test: tuple[str, ...] = ("test",)


PUBLISHED = medmnist.Published("chestmnist", CLASSES, CHECKSUMS, multiple=True)
files, listing = PUBLISHED.files, PUBLISHED.listing
