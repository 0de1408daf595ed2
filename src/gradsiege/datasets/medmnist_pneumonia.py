"""PneumoniaMNIST: 5,856 chest radiographs of children, grey, with and without pneumonia (Yang et al., 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gradsiege.datasets.formats import medmnist
from gradsiege.ranges import Checked

VERSION = 1

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


@dataclass(frozen=True)
class Parameters(Checked):
    """`resolution` of the published file in pixels; `from_test`: roles that are dealt from the official test part."""

    resolution: Literal[28, 64, 128, 224] = 28
    from_test: tuple[str, ...] = ("test",)


PUBLISHED = medmnist.Published("pneumoniamnist", CLASSES, CHECKSUMS)
files, listing = PUBLISHED.files, PUBLISHED.listing
