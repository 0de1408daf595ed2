"""PACS: 9,991 images of seven classes in four styles: photo, art painting, cartoon, sketch (Li et al., 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gradsiege.datasets.base import Dataset
from gradsiege.datasets.formats.folders import Scan, refuse_empty_class
from gradsiege.datasets.formats.pictures import Row, list_files
from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.sources.supply import File, Origin

VERSION = 1

CLASSES = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
ORIGIN = Origin(
    description="Images of one style, colour, 227x227 pixels.",
    source="Li, Yang, Song and Hospedales, ICCV 2017, https://domaingeneralization.github.io",
    licence="not stated; collected from the web",
    sharing="restricted",
    steps="Get the images of PACS from its authors' page and lay the four folders art_painting, cartoon, photo and "
    "sketch, each with seven class folders, into pacs/.",
    limits="Small: the photo style has 1,670 images. Sources of the images are not named.",
)


@dataclass(frozen=True)
class PACS(Dataset):
    """`domain`: the style."""

    name = "pacs"
    origin = ORIGIN

    domain: Literal["photo", "art_painting", "cartoon", "sketch"] = "photo"

    def files(self) -> tuple[File, ...]:
        """Return the seven class folders of the style."""
        return tuple(File(f"{self.domain}/{name}/") for name in CLASSES)

    def listing(self, folder: Path) -> Listing:
        """List the images of one style."""
        scan, rows = Scan(folder), []
        for label, name in enumerate(CLASSES):
            pictures = scan.pictures_of_class(folder / self.domain / name)
            if not pictures:
                refuse_empty_class(name, f"{self.domain}/{name}", scan)
            rows += [Row(path, label) for path in pictures]
        return list_files(folder, rows, CLASSES, scan.remarks.sentences())
