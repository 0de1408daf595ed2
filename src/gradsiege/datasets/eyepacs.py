"""EyePACS: 35,126 fundus photographs by five grades of diabetic retinopathy (Kaggle, 2015)."""

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

CLASSES = tuple(f"grade {grade}" for grade in range(5))
LABELS = "trainLabels.csv"
ORIGIN = Origin(
    description="Fundus photographs, colour, of several sizes and cameras.",
    source="EyePACS, https://www.kaggle.com/c/diabetic-retinopathy-detection",
    licence="competition rules: no redistribution",
    sharing="restricted",
    steps="Log in to Kaggle and accept the rules of diabetic-retinopathy-detection; lay trainLabels.csv and the images "
    "of train.zip (in train/) into eyepacs/.",
    limits="Grades are noisy. Both eyes of a patient stand in one role.",
)


@dataclass(frozen=True)
class EyePACS(Dataset):
    """No parameters: the official test part has no labels."""

    name = "eyepacs"
    origin = ORIGIN

    def files(self) -> tuple[File, ...]:
        """Return the folder of images and the table of labels."""
        return (File("train/"), File(LABELS))

    def listing(self, folder: Path) -> Listing:
        """List the images; a name such as 10_left begins with the patient, who is the group."""
        scan = Scan(folder)
        paths = by_name(scan.pictures(folder / "train"), "eyepacs")
        rows = []
        for _, line in read_table(folder / LABELS, ("image", "level")):
            name, level = line["image"], line["level"]
            if name not in paths or level not in ("0", "1", "2", "3", "4"):
                raise ValueError(
                    f"eyepacs: {LABELS} says {level!r} of {name!r}: no such grade, or image"
                )
            rows.append(Row(paths[name], int(level), name.partition("_")[0]))
        notes = [*scan.remarks.sentences(), *unnamed(paths.values(), rows, LABELS)]
        return list_files(folder, rows, CLASSES, notes)
