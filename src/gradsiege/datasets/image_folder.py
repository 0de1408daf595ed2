"""Any folder of images with a subfolder for every class, or with parts (train, val, test) that hold such subfolders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gradsiege.datasets.base import Dataset
from gradsiege.datasets.formats.folders import Scan, refuse_empty_class, refuse_look_alikes
from gradsiege.datasets.formats.parts import part_in, part_of, tested_parts
from gradsiege.datasets.formats.pictures import Reading, Row, list_files
from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.sources.supply import File, Origin, below_root, inside

VERSION = 2

# The one part of a folder whose subfolders are the classes.
WHOLE = "."
ORIGIN = Origin(
    description="Images of the user's own folder, one subfolder per class.",
    source="supplied by the person who ran the study",
    licence="as stated by the person who ran the study; restricted unless they say otherwise",
    sharing="restricted",
    steps="Lay the folder below the data root; its classes are its subfolders, or those of its subfolders train, val and "
    "test (training, validation and testing).",
    limits="What the images show, and whether several show one subject, only their owner knows.",
)


@dataclass(frozen=True)
class ImageFolder(Dataset):
    """`path`: the folder, relative to the data root; `sharing`: whether images and reconstructions may be passed on.

    `from_test`: roles that are dealt from the test part, if there is one. `bits`: depth of the values of pictures of more
    than 8 bits, by default that of the file's mode. `background`: what transparent pictures are laid on.
    `copies_of`: the published data set whose images these are, in other bytes; claims on that set are then judged, and marked.
    `proportional`: roles whose classes have the shares that the source has left after the roles dealt before (victims, tune, test,
    public, aux, train), instead of even ones: a rare class then reaches the roles dealt last.
    """

    name = "image_folder"
    origin = ORIGIN
    folder = "."

    path: str
    sharing: Literal["restricted", "public"] = "restricted"
    from_test: tuple[str, ...] = ("test",)
    bits: Literal[8, 9, 10, 11, 12, 13, 14, 15, 16] | None = None
    background: Literal["white", "grey", "black"] = "white"
    copies_of: str = ""
    proportional: tuple[str, ...] = ()

    def files(self) -> tuple[File, ...]:
        """Return the folder."""
        return (File(f"{below_root(self.path, 'path')}/"),)

    def listing(self, folder: Path) -> Listing:
        """List the images below every class folder.

        Raises:
            ValueError: for a layout that is neither classes nor parts, and for a class without a picture to train on.
        """
        scan, place = Scan(folder), folder / inside(self.path)
        top = scan.folders(place)
        tested, told = _parts(scan, place, self.path, top)
        names = {part: top if part == WHOLE else scan.folders(place / part) for part in tested}
        classes = sorted({name for of_part in names.values() for name in of_part})
        refuse_look_alikes(classes, f"{self.path}: the classes")
        rows = []
        for part, held in tested.items():
            for label, name in enumerate(classes):
                pictures = (
                    _of_class(place / part / name, folder, scan) if name in names[part] else []
                )
                if not pictures:
                    scan.remarks.add("classes without a picture in a part", f"{name} ({part})")
                rows += [Row(path, label, tested=held) for path in pictures]
        trained = {row.label for row in rows if not row.tested}
        training = next(part for part, held in tested.items() if not held)
        for label, name in enumerate(classes):
            if label not in trained:
                where = (place / training / name).relative_to(folder).as_posix()
                refuse_empty_class(name, where, scan)
        notes = [told, *scan.remarks.sentences()]
        reading = Reading(self.bits, self.background, upright=True, user_files=True)
        return list_files(folder, rows, classes, [note for note in notes if note], reading)


def _parts(scan: Scan, place: Path, path: str, names: list[str]) -> tuple[dict[str, bool], str]:
    """Which of the subfolders hold the class folders (`WHOLE`: the folder itself), whether each is tested, and a sentence."""
    if not names:
        raise ValueError(
            f"{path} holds no folders; lay the pictures of every class into a folder of its own"
        )
    if len(names) == 1 and any(map(part_of, Scan(scan.below).folders(place / names[0]))):
        raise ValueError(
            f"{path} holds the folder {names[0]} alone, whose folders are parts; name that one (path: {path}/{names[0]})"
        )
    named = [name for name in names if part_of(name)]
    divided = [name for name in named if not scan.holds_pictures(place / name)]
    if not divided:
        if len(named) == len(names):
            raise ValueError(
                f"{path}: {' and '.join(names)} hold pictures, but no class folders; lay the pictures of every class "
                "into a folder of its own"
            )
        return _parts_by_content(scan, place, path, names)
    others = [name for name in names if name not in divided]
    for name in others:
        if Scan(scan.below).pictures(place / name):
            raise ValueError(
                f"{path} has {' and '.join(divided)} beside {name}: either all of its folders are classes, or all are "
                "parts (train, val, test). List the pictures in a table and use image_manifest, or move them"
            )
        scan.remarks.add(
            "folders beside the parts that hold no picture are left out", f"{path}/{name}"
        )
    empty = next((name for name in divided if not Scan(scan.below).folders(place / name)), None)
    if empty:
        raise ValueError(f"{path}/{empty} is a part without class folders; fill it, or remove it")
    return tested_parts(divided, path)


def _parts_by_content(
    scan: Scan, place: Path, path: str, names: list[str]
) -> tuple[dict[str, bool], str]:
    """Return what `_parts` does for folders that are not called train, val or test: parts that hold the same classes.

    Raises:
        ValueError: folders hold the same subfolders, and their names do not say which part each is.
    """
    nested = [name for name in names if not scan.holds_pictures(place / name)]
    if len(nested) < 2:
        return {WHOLE: False}, ""
    held = {
        name: {
            inner
            for inner in Scan(scan.below).folders(place / name)
            if scan.reaches_pictures(place / name / inner)
        }
        for name in nested
    }
    held = {name: inner for name, inner in held.items() if inner}
    parts = {part_in(name): name for name in held}
    training = held.get(parts.get("train", ""), set())
    if (
        len(held) == len(names) == len(parts) > 1
        and "" not in parts
        and all(training & inner for inner in held.values())
    ):
        return tested_parts(held, path)
    first, *others = held.values() or [set()]
    if others and len(first) > 1 and all(inner == first for inner in others):
        one = next(iter(held))
        raise ValueError(
            f"{path}: {' and '.join(held)} hold the same folders ({', '.join(sorted(first))}), like parts or folds of one "
            "data set and unlike classes. Rename them to train, val and test, or name the one to use "
            f"(path: {path}/{one}); if they are classes, list the pictures in a table and use image_manifest"
        )
    return {WHOLE: False}, ""


def _of_class(where: Path, folder: Path, scan: Scan) -> list[str]:
    """Pictures of one class folder, which holds no parts of its own."""
    parts = [name for name in Scan(folder).folders(where) if part_of(name)]
    if parts:
        shown = where.relative_to(folder).as_posix()
        raise ValueError(
            f"{shown} has the folder {parts[0]}: parts belong above the classes ({parts[0]}/{where.name}), not below them"
        )
    return scan.pictures_of_class(where)
