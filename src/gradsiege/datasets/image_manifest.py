"""Any images that a table lists: path, label, and optionally the group (a patient) and the official part of each."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gradsiege.datasets.formats.pictures import Row, list_files
from gradsiege.datasets.listing import Listing
from gradsiege.datasets.supply import File, Origin, inside
from gradsiege.errors import StudyError
from gradsiege.ranges import Checked

VERSION = 1

FOLDER = "."
COLUMNS = ("path", "label", "group", "part")
ORIGIN = Origin(
    description="Images of one's own, as a table lists them.",
    source="supplied by whoever ran the study",
    licence="as stated by whoever ran the study; restricted unless they say otherwise",
    sharing="restricted",
    steps="Lay a table (CSV) below the data root, with the columns path (relative to the table), label, and if you like "
    "group (no group is ever in two roles) and part (train or test).",
    limits="What the images show only their owner knows; without the column group every image counts as its own.",
)


@dataclass(frozen=True)
class Parameters(Checked):
    """`file`: the table, relative to the data root; `sharing`: whether images and reconstructions may be passed on.

    `from_test`: roles that are dealt from the part test, if the table names one.
    """

    file: str
    sharing: Literal["restricted", "public"] = "restricted"
    from_test: tuple[str, ...] = ("test",)


def files(parameters: Parameters) -> tuple[File, ...]:
    """Return the table."""
    return (File(str(inside(parameters.file))),)


def listing(folder: Path, parameters: Parameters) -> Listing:
    """List what the table names; classes are its labels in alphabetical order."""
    table = folder / inside(parameters.file)
    with table.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        columns = list(reader.fieldnames or ())
        unknown = [column for column in columns if column not in COLUMNS]
        if unknown or not {"path", "label"} <= set(columns):
            raise ValueError(
                f"{table.name} has the columns {', '.join(columns)}; path and label are needed, "
                f"known are {', '.join(COLUMNS)}"
            )
        lines = [(reader.line_num, line) for line in reader]
    classes = sorted({line["label"] for _, line in lines})
    rows = [_row(number, line, table, folder, classes) for number, line in lines]
    if len({row.path for row in rows}) != len(rows):
        raise ValueError(f"{table.name} lists an image twice")
    return list_files(folder, rows, classes)


def _row(number: int, line: dict[str, str], table: Path, folder: Path, classes: list[str]) -> Row:
    """One line of the table, its path checked."""
    if None in line or None in line.values() or not line["label"]:
        raise ValueError(f"{table.name}, line {number}: too many or too few values")
    part = line.get("part", "") or "train"
    if part not in ("train", "test"):
        raise ValueError(f"{table.name}, line {number}: part {part!r} is neither train nor test")
    try:
        path = table.parent / inside(line["path"])
    except StudyError as error:
        raise ValueError(f"{table.name}, line {number}: {error}") from error
    relative = path.relative_to(folder).as_posix()
    return Row(relative, classes.index(line["label"]), line.get("group", ""), part == "test")
