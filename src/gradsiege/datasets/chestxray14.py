"""ChestX-ray14: 112,120 frontal chest radiographs of 30,805 patients, by their single finding (Wang et al., 2017)."""

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

CLASSES = (
    "No Finding",
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
LABELS, TESTED = "Data_Entry_2017_v2020.csv", "test_list.txt"
ORIGIN = Origin(
    description="Frontal chest radiographs, grey, 1024x1024 pixels.",
    source="Wang et al., CVPR 2017, NIH Clinical Center, https://nihcc.app.box.com/v/ChestXray-NIHCC",
    licence="no restriction of use; link to NIH's page, cite the paper, acknowledge the NIH Clinical Center",
    sharing="public",
    steps="Get Data_Entry_2017_v2020.csv, test_list.txt and the image archives from NIH's page; extract the archives "
    "into chestxray14/images/, in their folders or without. No registration; 45 GB.",
    limits="Labels were mined from text and are noisy. Images with several findings are left out. A patient stands in "
    "one role only.",
)


@dataclass(frozen=True)
class ChestXray14(Dataset):
    """`from_test`: roles that are dealt from the official test part; the others never are."""

    name = "chestxray14"
    origin = ORIGIN

    from_test: tuple[str, ...] = ("test",)

    def files(self) -> tuple[File, ...]:
        """Return the folder of images, the table of findings, and the official test list."""
        return (File("images/"), File(LABELS), File(TESTED))

    def listing(self, folder: Path) -> Listing:
        """List the images with one finding or none; patients are groups."""
        scan = Scan(folder)
        paths = by_name(scan.pictures(folder / "images"), "chestxray14", stems=False)
        tested = set((folder / TESTED).read_text(encoding="ascii").split())
        rows = []
        for _, line in read_table(folder / LABELS, ("Image Index", "Finding Labels", "Patient ID")):
            name, findings = line["Image Index"], line["Finding Labels"].split("|")
            if len(findings) > 1:
                scan.remarks.add("pictures with several findings are left out", name)
                paths.pop(name, None)
                continue
            if name not in paths or findings[0] not in CLASSES:
                raise ValueError(
                    f"chestxray14: {LABELS} says {findings[0]!r} of {name!r}: no such class, or image"
                )
            label = CLASSES.index(findings[0])
            rows.append(Row(paths[name], label, line["Patient ID"], name in tested))
        notes = [*scan.remarks.sentences(), *unnamed(paths.values(), rows, LABELS)]
        return list_files(folder, rows, CLASSES, notes)
