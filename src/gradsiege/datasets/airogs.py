"""AIROGS: 101,442 fundus photographs with and without referable glaucoma (de Vente et al., 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gradsiege.datasets.base import Dataset
from gradsiege.datasets.formats.folders import Scan
from gradsiege.datasets.formats.pictures import Row, list_files
from gradsiege.datasets.formats.tables import by_name, read_table, unnamed
from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.sources.supply import File, Origin

VERSION = 1

CLASSES = ("NRG", "RG")
LABELS = "train_labels.csv"
ORIGIN = Origin(
    description="Fundus photographs, colour, of several sizes: no referable glaucoma (NRG), referable glaucoma (RG).",
    source="de Vente et al., IEEE Transactions on Medical Imaging, 2023, https://zenodo.org/records/5793241",
    licence="CC BY-NC-ND 4.0: no derivatives, to which reconstructions may belong",
    sharing="restricted",
    steps="Get train_labels.csv and the archives of Zenodo's record 5793241; extract the images into airogs/images/, "
    "in their folders or without.",
    limits="Patients are not named: both eyes of a patient may stand in several roles.",
)


@dataclass(frozen=True)
class AIROGS(Dataset):
    """No parameters: there is no official test part with labels."""

    name = "airogs"
    origin = ORIGIN

    def files(self) -> tuple[File, ...]:
        """Return the folder of images and the table of labels."""
        return (File("images/"), File(LABELS))

    def listing(self, folder: Path) -> Listing:
        """List the images that the table names; it has the columns challenge_id and class."""
        scan = Scan(folder)
        paths = by_name(scan.pictures(folder / "images"), "airogs")
        rows = []
        for _, line in read_table(folder / LABELS, ("challenge_id", "class")):
            name, grade = line["challenge_id"], line["class"]
            if name not in paths or grade not in CLASSES:
                raise ValueError(
                    f"airogs: {LABELS} says {grade!r} of {name!r}: no such class, or image"
                )
            rows.append(Row(paths[name], CLASSES.index(grade)))
        notes = [*scan.remarks.sentences(), *unnamed(paths.values(), rows, LABELS)]
        return list_files(folder, rows, CLASSES, notes)
