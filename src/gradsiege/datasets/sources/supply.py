"""Data sets that must be downloaded or supplied: their folders, missing files, and terms of use.

All files lie under one data root, ``$GRADSIEGE_DATA`` or else ``data``, in a folder named after the data set. A study
file contains no paths of a machine. Nothing here reads an image; `missing` looks at names and sizes alone and is quick
enough for planning, `check` compares checksums too.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gradsiege import catalogue
from gradsiege.datasets import build, kind
from gradsiege.errors import ArtifactError, MissingError, StudyError

ROOT_VARIABLE = "GRADSIEGE_DATA"
ROOT = Path("data")
PUBLIC, RESTRICTED = "public", "restricted"


@dataclass(frozen=True)
class File:
    """One file (or folder, if `path` ends in a slash) that a data set is read from.

    Attributes:
        path: relative to the data set's folder.
        digest: ``md5:...`` or ``sha256:...`` as its publisher, torchvision or MedMNIST states it; empty where none is
            published.
        size: bytes, or None if not published.
        url: where `gradsiege download` gets it; empty for what a person has to obtain.
    """

    path: str
    digest: str = ""
    size: int | None = None
    url: str = ""


@dataclass(frozen=True)
class Origin:
    """Description, source, terms of use, and steps to obtain a data set.

    Attributes:
        description, limits: texts of the data card about the images and about their limits.
        source: citation and address.
        licence: summary of its terms, in a few words.
        sharing: ``public``: nothing forbids to pass images on. ``restricted``: the terms forbid it, or state nothing;
            images, reconstructions and what is drawn from them stay off public remotes.
        steps: how to obtain it: registration, downloads, and the layout of the folder.
    """

    description: str
    source: str
    licence: str
    sharing: str
    steps: str
    limits: str


@dataclass(frozen=True)
class Packaged:
    """Where a package of the operating system puts a data set, and its files with their checksums there."""

    folder: Path
    files: tuple[File, ...]


def data_root() -> Path:
    """Return the folder that holds a folder for every data set."""
    return Path(os.environ.get(ROOT_VARIABLE) or ROOT)


def ships(name: str) -> bool:
    """Whether the images of a data set come with an installed package, or are drawn; its class is not imported."""
    return catalogue.lookup("datasets", name, "the data set").obtained == "shipped"


def origin_of(name: str) -> Origin | None:
    """Return the origin of a data set, or None for one that ships.

    Raises:
        StudyError: it does not ship, and does not say whether its images may be passed on.
    """
    if ships(name):
        return None
    origin = kind(name).origin
    if origin is None:
        raise StudyError(
            f"the data set {name} states no `origin`, which says whether its images may be passed on; "
            'declare one, or OBTAINED = "shipped" beside its VERSION'
        )
    return origin


def sharing_of(name: str, parameters: Mapping[str, Any]) -> str:
    """Return `PUBLIC` or `RESTRICTED`; for a user's own images, the study file says which."""
    origin = origin_of(name)
    return str(parameters.get("sharing") or (origin.sharing if origin else PUBLIC))


def folder_of(name: str) -> Path:
    """Return the folder of a data set; for a user's own images, this is the data root."""
    return data_root() / (kind(name).folder or name)


def files_of(name: str, parameters: Mapping[str, Any]) -> tuple[File, ...]:
    """Return the files that a data set is read from, as its parameters choose them."""
    return () if ships(name) else build(name, parameters).files()


def missing(name: str, parameters: Mapping[str, Any]) -> list[str]:
    """Return one phrase for every file that is missing or does not have its published size.

    Files are named relative to the data root, so that a report contains no paths of the machine.
    """
    if ships(name):
        return []
    folder, files = place_of(name, parameters)
    if not folder.is_relative_to(data_root()):
        return []
    return _lacking(folder, files, PurePosixPath(folder.relative_to(data_root())))


def place_of(name: str, parameters: Mapping[str, Any]) -> tuple[Path, tuple[File, ...]]:
    """Return the folder that a data set is read from, and the files to expect there.

    It is the one below the data root, unless that lacks a file and a package of the operating system has them all.
    """
    folder, files = folder_of(name), files_of(name, parameters)
    packaged = kind(name).packaged
    if packaged is None or not _lacking(folder, files) or _lacking(packaged.folder, packaged.files):
        return folder, files
    return packaged.folder, packaged.files


def _lacking(
    folder: Path, files: tuple[File, ...], shown: PurePosixPath | None = None
) -> list[str]:
    """One phrase for every file that is not there or has another size; `shown` names the folder."""
    lacking = []
    for file in files:
        name = (shown or PurePosixPath()).joinpath(file.path).as_posix()
        path = folder / inside(file.path)
        if path.exists() and path.is_dir() != file.path.endswith("/"):
            # It is there, and something else: `misplaced` refuses it.
            continue
        if file.path.endswith("/"):
            if not path.is_dir():
                lacking.append(f"{name}/ (a folder)")
            elif next(path.iterdir(), None) is None:
                # An empty folder: probably the mount point of a disk that is not mounted.
                lacking.append(f"{name}/ (the folder is empty)")
        elif not path.is_file():
            lacking.append(name + (f" ({file.digest})" if file.digest else ""))
        elif file.size is not None and path.stat().st_size != file.size:
            lacking.append(f"{name} ({path.stat().st_size} of {file.size} bytes are there)")
    return lacking


def misplaced(folder: Path, files: tuple[File, ...]) -> str:
    """Return a sentence about the first folder that lies where a file belongs, or the reverse; empty if there is none."""
    for file in files:
        path = folder / inside(file.path)
        if path.exists() and path.is_dir() != file.path.endswith("/"):
            is_there, belongs = ("folder", "file") if path.is_dir() else ("file", "folder")
            return f"{file.path} is a {is_there}, and a {belongs} belongs there; name another one, or move it away"
    return ""


def absence(name: str, parameters: Mapping[str, Any]) -> str:
    """Return why a data set cannot be read, in one sentence, or an empty string when its files are there."""
    lacking = missing(name, parameters)
    if not lacking:
        return ""
    more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
    return f"data absent: {lacking[0]}{more}; `gradsiege doctor` says how to get it"


def check(name: str, parameters: Mapping[str, Any]) -> None:
    """Refuse a data set whose files are absent or differ from what was published.

    Raises:
        MissingError: names the missing files and the steps to obtain them.
        ArtifactError: names the file whose checksum is wrong, or the folder that lies in a file's place.
    """
    origin, lacking = origin_of(name), missing(name, parameters)
    if lacking:
        steps = origin.steps if origin else ""
        raise MissingError(
            f"{name}: {', '.join(lacking)} missing under {data_root()} ({ROOT_VARIABLE}). {steps}"
        )
    folder, files = place_of(name, parameters)
    wrong = misplaced(folder, files)
    if wrong:
        raise ArtifactError(f"{name}: {wrong}")
    for file in files:
        if file.digest:
            verify(folder / file.path, file.digest)


def verify(path: Path, digest: str) -> None:
    """Refuse a file whose checksum, ``md5:...`` or ``sha256:...``, is another one."""
    method, _, expected = digest.partition(":")
    with path.open("rb") as stream:
        actual = hashlib.file_digest(stream, method).hexdigest()
    if actual != expected:
        raise ArtifactError(
            f"{path} has {method} {actual}, expected {expected}: it is damaged or another version. "
            "Delete it and get it again."
        )


def inside(path: str) -> PurePosixPath:
    """Return a relative path that stays where it starts, or refuse it.

    >>> inside("a/b.png").as_posix()
    'a/b.png'
    """
    parsed = PurePosixPath(path)
    if not path or parsed.is_absolute() or ".." in parsed.parts or "\\" in path or "\0" in path:
        raise StudyError(
            f"{path!r} is not a path inside its folder; use a relative one without '..'"
        )
    return parsed


def below_root(path: str, key: str) -> PurePosixPath:
    """Return a path of a study file that stays below the data root, or refuse it and name its key."""
    try:
        return inside(path)
    except StudyError as error:
        raise StudyError(
            f"{key}: {path!r} does not lie below the data root, {data_root()} (${ROOT_VARIABLE}); lay the pictures there, and "
            f"write the path relative to it, without '..'"
        ) from error
