"""ImageNet-1k: 1.28 million training and 50,000 validation photographs of 1000 classes (Russakovsky et al., 2015)."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from gradsiege.datasets.formats.pictures import Row, class_folders, images_in, list_files
from gradsiege.datasets.listing import Listing
from gradsiege.datasets.supply import File, Origin
from gradsiege.ranges import Checked, Range

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
class Parameters(Checked):
    """`classes`: synset folders that must be there; `from_test`: roles that are dealt from the validation part."""

    classes: Annotated[int, Range(2, 1000)] = 1000
    from_test: tuple[str, ...] = ("test",)


def files(parameters: Parameters) -> tuple[File, ...]:
    """Return the two folders."""
    return (File("train/"), File("val/"))


def listing(folder: Path, parameters: Parameters) -> Listing:
    """List the files of the class folders; labels follow the synsets in alphabetical order, as is usual."""
    synsets = class_folders(folder / "train")
    if len(synsets) != parameters.classes:
        raise ValueError(
            f"imagenet: train holds {len(synsets)} synset folders, not {parameters.classes}; complete it, or set the "
            "parameter `classes` to what you mean to use"
        )
    number = {synset: place for place, synset in enumerate(synsets)}
    rows = [
        Row(path, label)
        for synset, label in number.items()
        for path in images_in(folder / "train" / synset, folder)
    ]
    for path, synset in _validation(folder):
        if synset not in number:
            raise ValueError(f"imagenet: {path} is of {synset}, which train does not hold")
        rows.append(Row(path, number[synset], tested=True))
    return list_files(folder, rows, synsets)


def _validation(folder: Path) -> list[tuple[str, str]]:
    """Path and synset of the validation images: their folder, or Kaggle's table where they lie in one folder."""
    synsets = class_folders(folder / "val")
    if synsets:
        return [
            (path, synset)
            for synset in synsets
            for path in images_in(folder / "val" / synset, folder)
        ]
    if not (folder / SOLUTION).is_file():
        raise ValueError(
            f"imagenet: val has no synset folders, and {SOLUTION}, which maps its files to synsets, is missing"
        )
    with (folder / SOLUTION).open(newline="", encoding="utf-8") as stream:
        told = {
            row["ImageId"]: row["PredictionString"].split()[0] for row in csv.DictReader(stream)
        }
    paths = images_in(folder / "val", folder)
    unknown = next((path for path in paths if Path(path).stem not in told), None)
    if unknown is not None:
        raise ValueError(f"imagenet: {SOLUTION} does not name {unknown}")
    return [(path, told[Path(path).stem]) for path in paths]
