"""Any folder of images with a subfolder for every class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gradsiege.datasets.formats.pictures import Row, class_folders, images_in, list_files
from gradsiege.datasets.listing import Listing
from gradsiege.datasets.supply import File, Origin, inside
from gradsiege.ranges import Checked

VERSION = 1

FOLDER = "."
ORIGIN = Origin(
    description="Images of a folder of one's own, a class a subfolder.",
    source="supplied by whoever ran the study",
    licence="as stated by whoever ran the study; restricted unless they say otherwise",
    sharing="restricted",
    steps="Lay the folder below the data root; its classes are its subfolders, or those of its subfolders train and test.",
    limits="What the images show, and whether several show one subject, only their owner knows.",
)


@dataclass(frozen=True)
class Parameters(Checked):
    """`path`: the folder, relative to the data root; `sharing`: whether images and reconstructions may be passed on.

    `from_test`: roles that are dealt from the subfolder test, if there is one.
    """

    path: str
    sharing: Literal["restricted", "public"] = "restricted"
    from_test: tuple[str, ...] = ("test",)


def files(parameters: Parameters) -> tuple[File, ...]:
    """Return the folder."""
    return (File(f"{inside(parameters.path)}/"),)


def listing(folder: Path, parameters: Parameters) -> Listing:
    """List the images below every class folder."""
    place = folder / inside(parameters.path)
    divided = set(class_folders(place)) == {"train", "test"}
    parts = {place / "train": False, place / "test": True} if divided else {place: False}
    classes = sorted({name for part in parts for name in class_folders(part)})
    rows = [
        Row(path, label, tested=tested)
        for part, tested in parts.items()
        for label, name in enumerate(classes)
        if (part / name).is_dir()
        for path in images_in(part / name, folder)
    ]
    return list_files(folder, rows, classes)
