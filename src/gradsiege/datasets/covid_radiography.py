"""COVID-19 Radiography Database: 21,165 chest radiographs of four classes, 299 px (Chowdhury et al., 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gradsiege.datasets.base import Dataset
from gradsiege.datasets.formats.folders import Scan, refuse_empty_class, refuse_look_alikes
from gradsiege.datasets.formats.pictures import Row, list_files
from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.sources.supply import File, Origin, inside

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
class COVIDRadiography(Dataset):
    """`classes`: folders, in the order of their labels; Shadow's paper has normal (0) and COVID (1)."""

    name = "covid_radiography"
    origin = ORIGIN

    classes: tuple[str, ...] = ("Normal", "COVID")

    def files(self) -> tuple[File, ...]:
        """Return the class folders."""
        return tuple(File(f"{inside(name)}/") for name in self.classes)

    def listing(self, folder: Path) -> Listing:
        """List the radiographs; newer editions have masks beside them, which are left out."""
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(
                f"covid_radiography: classes {list(self.classes)} name one folder twice"
            )
        refuse_look_alikes(self.classes, "covid_radiography: classes")
        scan, rows = Scan(folder), []
        for label, name in enumerate(self.classes):
            images = folder / name / "images"
            place = images if images.is_dir() else folder / name
            pictures = scan.pictures_of_class(place)
            if not pictures:
                refuse_empty_class(name, place.relative_to(folder).as_posix(), scan)
            if place == images:
                for beside in Scan(folder).folders(folder / name):
                    if beside != "images":
                        scan.remarks.add("folders beside images are left out", f"{name}/{beside}")
            rows += [Row(path, label) for path in pictures]
        return list_files(folder, rows, tuple(self.classes), scan.remarks.sentences())
