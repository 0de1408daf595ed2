"""COVID-19 Radiography Database: 21,165 chest radiographs of four classes, 299 px (Chowdhury et al., 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gradsiege.datasets.formats.pictures import Row, images_in, list_files
from gradsiege.datasets.listing import Listing
from gradsiege.datasets.supply import File, Origin, inside
from gradsiege.ranges import Checked

VERSION = 1

ORIGIN = Origin(
    description="Chest radiographs, grey, 299x299 pixels.",
    source="Chowdhury et al., IEEE Access, 2020; Rahman et al., Computers in Biology and Medicine, 2021, "
    "https://www.kaggle.com/datasets/tawsifurrahman/covid19-radiography-database",
    licence="data files copyright of their original authors",
    sharing="restricted",
    steps="Log in to Kaggle and accept the terms; lay the class folders of COVID-19_Radiography_Dataset (COVID, Normal, "
    "Lung_Opacity, Viral Pneumonia) into covid_radiography/.",
    limits="Patients are not named: images of one patient may stand in several roles. Classes come from different "
    "hospitals, so a classifier may tell these apart.",
)


@dataclass(frozen=True)
class Parameters(Checked):
    """`classes`: folders, in the order of their labels; Shadow's paper has normal (0) and COVID (1)."""

    classes: tuple[str, ...] = ("Normal", "COVID")


def files(parameters: Parameters) -> tuple[File, ...]:
    """Return the class folders."""
    return tuple(File(f"{inside(name)}/") for name in parameters.classes)


def listing(folder: Path, parameters: Parameters) -> Listing:
    """List the radiographs; newer editions have masks beside them, which are left out."""
    rows = []
    for label, name in enumerate(parameters.classes):
        images = folder / name / "images"
        place = images if images.is_dir() else folder / name
        rows += [Row(path, label) for path in images_in(place, folder)]
    return list_files(folder, rows, tuple(parameters.classes))
