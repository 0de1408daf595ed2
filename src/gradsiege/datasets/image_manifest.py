"""Any images that a table lists: path, label, and optionally the group (a patient) and the official part of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gradsiege.datasets.base import Dataset
from gradsiege.datasets.formats.folders import refuse_look_alikes
from gradsiege.datasets.formats.parts import part_of, tested_parts
from gradsiege.datasets.formats.pictures import Reading, Row, list_files
from gradsiege.datasets.formats.remarks import Remarks
from gradsiege.datasets.formats.tables import read_table
from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.sources.supply import File, Origin, below_root, inside
from gradsiege.errors import StudyError

VERSION = 2

COLUMNS = ("path", "label", "group", "part")
ORIGIN = Origin(
    description="The user's own images, listed in a table.",
    source="supplied by the person who ran the study",
    licence="as stated by the person who ran the study; restricted unless they say otherwise",
    sharing="restricted",
    steps="Lay a table (CSV) below the data root, with the columns path (relative to the table), label, and if you like "
    "group (no group is ever in two roles) and part (train, val or test).",
    limits="What the images show only their owner knows; without the column group every image counts as its own.",
)


@dataclass(frozen=True)
class ImageManifest(Dataset):
    """`file`: the table, relative to the data root; `sharing`: whether images and reconstructions may be passed on.

    `from_test`: roles that are dealt from the test part, if the table names one. `bits`: depth of the values of pictures
    of more than 8 bits, by default that of the file's mode. `background`: what transparent pictures are laid on.
    `copies_of`: the published data set whose images these are, in other bytes; claims on that set are then judged, and marked.
    `proportional`: roles whose classes have the shares that the source has left after the roles dealt before (victims, tune, test,
    public, aux, train), instead of even ones: a rare class then reaches the roles dealt last.
    """

    name = "image_manifest"
    origin = ORIGIN
    folder = "."

    file: str
    sharing: Literal["restricted", "public"] = "restricted"
    from_test: tuple[str, ...] = ("test",)
    bits: Literal[8, 9, 10, 11, 12, 13, 14, 15, 16] | None = None
    background: Literal["white", "grey", "black"] = "white"
    copies_of: str = ""
    proportional: tuple[str, ...] = ()

    def files(self) -> tuple[File, ...]:
        """Return the table."""
        return (File(str(below_root(self.file, "file"))),)

    def listing(self, folder: Path) -> Listing:
        """List the images of the table; its classes are the labels in alphabetical order.

        Raises:
            ValueError: names the table and the line, or the label.
        """
        table, remarks = folder / inside(self.file), Remarks()
        lines = read_table(table, ("path", "label"), COLUMNS)
        for column in ("label", "group"):
            refuse_look_alikes(
                (line.get(column, "") for _, line in lines), f"{table.name}: {column}s"
            )
        tested, told = _parts(lines, table.name, remarks)
        classes = sorted({line["label"] for _, line in lines})
        rows = [_row(number, line, table, folder, classes, tested) for number, line in lines]
        _refuse_repeated(rows, lines, table.name)
        _refuse_missing(rows, lines, folder, table.name)
        trained = {row.label for row in rows if not row.tested}
        for label, name in enumerate(classes):
            if label not in trained:
                raise ValueError(
                    f"{table.name}: no picture of the label {name!r} is in the training part"
                )
        if any(row.group for row in rows):
            for row in rows:
                if not row.group:
                    remarks.add("lines without a group are a group of their own", row.path)
        notes = [told, *remarks.sentences()]
        reading = Reading(self.bits, self.background, upright=True, user_files=True)
        return list_files(folder, rows, classes, [note for note in notes if note], reading)


def _parts(
    lines: Sequence[tuple[int, dict[str, str]]], table: str, remarks: Remarks
) -> tuple[dict[str, bool], str]:
    """Whether each part of the table belongs to the test part, and a sentence; an empty cell means the training part."""
    named: dict[str, None] = {}
    for number, line in lines:
        part = line.get("part", "")
        if part and not part_of(part):
            raise ValueError(
                f"{table}, line {number}: part {part!r} is neither train nor val nor test"
            )
        if part:
            named[part] = None
        elif "part" in line:
            remarks.add("lines without a part are of the training part", line["path"])
    if not named:
        return {"": False}, ""
    if any(not line.get("part") for _, line in lines) and not any(
        part_of(name) == "train" for name in named
    ):
        named["train"] = None
    tested, told = tested_parts(named, table)
    return tested | {"": False}, told


def _row(
    number: int,
    line: dict[str, str],
    table: Path,
    folder: Path,
    classes: list[str],
    tested: dict[str, bool],
) -> Row:
    """One line of the table, its values checked."""
    for column, value in line.items():
        if value != value.strip():
            raise ValueError(
                f"{table.name}, line {number}: {column} {value!r} begins or ends with a space; remove it"
            )
    if not line["label"]:
        raise ValueError(f"{table.name}, line {number}: the label is empty")
    try:
        path = table.parent / inside(line["path"])
    except StudyError as error:
        raise ValueError(f"{table.name}, line {number}: {error}") from error
    relative = path.relative_to(folder).as_posix()
    held = tested[line.get("part", "")]
    return Row(relative, classes.index(line["label"]), line.get("group", ""), held)


def _refuse_repeated(
    rows: Sequence[Row], lines: Sequence[tuple[int, dict[str, str]]], table: str
) -> None:
    first: dict[str, int] = {}
    for row, (number, line) in zip(rows, lines, strict=True):
        other = first.setdefault(row.path, number)
        if other != number:
            raise ValueError(
                f"{table} lists an image twice: {line['path']} in line {other} and line {number}"
            )


def _refuse_missing(
    rows: Sequence[Row], lines: Sequence[tuple[int, dict[str, str]]], folder: Path, table: str
) -> None:
    """Refuse a table with files that are missing; if all are missing, say so, since a disk may not be mounted."""
    lacking = [
        (number, line["path"], row.path)
        for row, (number, line) in zip(rows, lines, strict=True)
        if not (folder / row.path).is_file()
    ]
    if lacking:
        number, path, place = lacking[0]
        first_missing = f"{table}, line {number}: {path} is missing"
        place = f"looked for as {place} below the data root, since paths are relative to the table"
        if len(lacking) == len(rows) > 1:
            raise FileNotFoundError(
                f"{first_missing} ({place}), and so are all other pictures; is their disk there?"
            )
        verb = "is" if len(lacking) == 1 else "are"
        raise ValueError(
            f"{first_missing} ({place}); {len(lacking)} of {len(rows)} files {verb} missing"
        )
