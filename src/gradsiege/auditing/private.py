"""The folder of an audit holds private pictures: it is its owner's alone."""

from __future__ import annotations

import shutil
from pathlib import Path

from gradsiege import artifacts
from gradsiege.errors import ArtifactError, UsageError

FOLDER, FILE = 0o700, 0o600
# Keeps the pictures out of a commit where the folder lies in a working tree of git.
IGNORE, EVERYTHING = ".gitignore", "*\n"
# Names that an audit writes; a folder with others is somebody else's.
ROUND = "round-"
PARTS = "parts"
WRITTEN = (IGNORE, PARTS, "plan.json", "manifest.json", "audit.json", "index.html", "tables")


def refuse_taken(folder: Path, option: str = "") -> None:
    """Refuse a place that is not an audit's: a file, or a folder of other files. `option`: that names it.

    Raises:
        UsageError: names the file.
    """
    named = f"{option} {folder}".strip()
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        lies = "is a file" if there == folder else f"lies below {there}, which is a file"
        raise UsageError(f"{named} {lies}; name a folder for the audit, new or empty")
    strange = sorted(
        entry.name
        for entry in (folder.iterdir() if folder.is_dir() else ())
        if entry.name not in WRITTEN and not entry.name.startswith((".", ROUND))
    )
    if strange:
        raise UsageError(
            f"{named} holds {strange[0]!r}, which no audit writes; name an empty folder, since its files become readable by you alone"
        )


def refuse_within(folder: Path, pictures: Path, option: str, other: str) -> None:
    """Refuse a place below a folder of pictures, of which the next audit would take it for a class.

    option, other: that name them.

    Raises:
        UsageError: names both.
    """
    if pictures.is_dir() and folder.resolve().is_relative_to(pictures.resolve()):
        raise UsageError(
            f"{option} {folder} lies in {other} {pictures}, where it would be taken for pictures; name a folder outside of it"
        )


def private_folder(folder: Path) -> Path:
    """Make a folder that its owner alone may enter and that git ignores, or take one of an earlier audit.

    Raises:
        UsageError: it is a file, or holds files that no audit wrote.
    """
    refuse_taken(folder)
    own_folder(folder)
    ignored = folder / IGNORE
    if not ignored.exists():
        artifacts.write_text(ignored, EVERYTHING)
        ignored.chmod(FILE)
    return folder


def own_folder(folder: Path) -> Path:
    """Make a folder, or take one, that its owner alone may enter."""
    artifacts.make_folder(folder)
    folder.chmod(FOLDER)
    return folder


def delete_parts(folder: Path) -> None:
    """Delete the finished parts of an audit, which hold private pictures.

    Raises:
        ArtifactError: some stay.
    """
    try:
        shutil.rmtree(folder / PARTS)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ArtifactError(
            f"{folder / PARTS} still holds private pictures ({error}); delete it yourself"
        ) from error


def lock_up(folder: Path) -> None:
    """Take all rights on a folder's files and folders from everybody but their owner."""
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(FOLDER if path.is_dir() else FILE)
    folder.chmod(FOLDER)
