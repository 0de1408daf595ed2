"""ImageNet-1k: 1.28 million training and 50,000 validation photographs of 1000 classes (Russakovsky et al., 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from gradsiege.datasets.base import Dataset
from gradsiege.datasets.formats.folders import Scan, refuse_empty_class
from gradsiege.datasets.formats.pictures import Row, list_files
from gradsiege.datasets.formats.tables import read_table
from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.sources.supply import File, Origin
from gradsiege.ranges import Range

VERSION = 1

SOLUTION = "LOC_val_solution.csv"
ORIGIN = Origin(
    description="Photographs of 1000 classes, of any size.",
    source="Russakovsky et al., IJCV 2015, https://image-net.org",
    licence="terms of access: non-commercial research and education; may be shared only with those who accepted them",
    sharing="restricted",
    steps="Register at https://image-net.org/download.php and accept the terms; extract ILSVRC2012_img_train.tar (md5 "
    "1d675b47d978889d74fa0da5fadfb00e) to train/<synset>/ and ILSVRC2012_img_val.tar (md5 "
    "29b22e2961454d5413ddabcf34fc5622) to val/<synset>/, or to val/ beside Kaggle's LOC_val_solution.csv.",
    limits="Persons and private scenes are in it. The official validation part serves as test part.",
)


@dataclass(frozen=True)
class ImageNet(Dataset):
    """`classes`: synset folders that must be there; `from_test`: roles that are dealt from the validation part."""

    name = "imagenet"
    origin = ORIGIN

    classes: Annotated[int, Range(2, 1000)] = 1000
    from_test: tuple[str, ...] = ("test",)

    def files(self) -> tuple[File, ...]:
        """Return the two folders."""
        return (File("train/"), File("val/"))

    def listing(self, folder: Path) -> Listing:
        """List the files of the class folders; labels follow the synsets in alphabetical order, as is usual."""
        scan = Scan(folder)
        synsets = scan.folders(folder / "train")
        if len(synsets) != self.classes:
            raise ValueError(
                f"imagenet: train holds {len(synsets)} synset folders, not {self.classes}; complete it, or set the "
                "parameter `classes` to what you mean to use"
            )
        number = {synset: place for place, synset in enumerate(synsets)}
        rows = []
        for synset, label in number.items():
            pictures = scan.pictures_of_class(folder / "train" / synset)
            if not pictures:
                refuse_empty_class(synset, f"train/{synset}", scan)
            rows += [Row(path, label) for path in pictures]
        for path, synset in _validation(folder, scan):
            if synset not in number:
                raise ValueError(f"imagenet: {path} is of {synset}, which train does not hold")
            rows.append(Row(path, number[synset], tested=True))
        return list_files(folder, rows, synsets, scan.remarks.sentences())


def _validation(folder: Path, scan: Scan) -> list[tuple[str, str]]:
    """Path and synset of the validation images: their folder, or Kaggle's table where they lie in one folder."""
    synsets = Scan(folder).folders(folder / "val")
    if synsets:
        return [
            (path, synset)
            for synset in scan.folders(folder / "val")
            for path in scan.pictures_of_class(folder / "val" / synset)
        ]
    if not (folder / SOLUTION).is_file():
        raise ValueError(
            f"imagenet: val has no synset folders, and {SOLUTION}, which maps its files to synsets, is missing"
        )
    told = {}
    for number, row in read_table(folder / SOLUTION, ("ImageId", "PredictionString")):
        words = row["PredictionString"].split()
        if not words:
            raise ValueError(f"imagenet: {SOLUTION}, line {number}: no synset")
        told[row["ImageId"]] = words[0]
    paths = scan.pictures(folder / "val")
    unknown = next((path for path in paths if Path(path).stem not in told), None)
    if unknown is not None:
        raise ValueError(f"imagenet: {SOLUTION} does not name {unknown}")
    return [(path, told[Path(path).stem]) for path in paths]
