"""RetinaMNIST: 1,600 fundus photographs by five grades of diabetic retinopathy (Yang et al., 2023)."""

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

CLASSES = tuple(f"grade {grade}" for grade in range(5))
CHECKSUMS = {
    28: "bd4c0672f1bba3e3a89f0e4e876791e4",
    64: "afda852cc34dcda56f86ad2b2457dbcc",
    128: "e48e916a24454daf90583d4e6efb1a18",
    224: "eae7e3b6f3fcbda4ae613ebdcbe35348",
}
ORIGIN = medmnist.origin(
    "Fundus photographs, colour",
    "Liu et al. (DeepDRiD), Patterns, 2022",
    limits="Patients are not named: images of one patient may stand in several roles of one official part.",
)
PUBLISHED = medmnist.Published("retinamnist", CLASSES, CHECKSUMS)


@dataclass(frozen=True)
class RetinaMNIST(Dataset):
    """`resolution` of the published file in pixels; `from_test`: roles that are dealt from the official test part."""

    name = "medmnist_retina"
    origin = ORIGIN

    resolution: Literal[28, 64, 128, 224] = 28
    from_test: tuple[str, ...] = ("test",)

    def files(self) -> tuple[File, ...]:
        """Return the published file of the resolution."""
        return PUBLISHED.files(self.resolution)

    def listing(self, folder: Path) -> Listing:
        """List the images of the three official parts."""
        return PUBLISHED.listing(folder, self.resolution)
