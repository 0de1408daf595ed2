"""The folder of an audit holds private pictures: it is its owner's alone."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from gradsiege import artifacts
from gradsiege.errors import ArtifactError, UsageError

FOLDER, FILE = 0o700, 0o600
# Keeps the pictures out of a commit where the folder lies in a working tree of git.
IGNORE, EVERYTHING = ".gitignore", "*\n"
# Names that an audit writes; a folder with others is somebody else's. Its own .gitignore is there before anything else, and marks it.
ROUND = "round-"
PARTS = "parts"
WRITTEN = (IGNORE, PARTS, "plan.json", "manifest.json", "audit.json", "index.html", "tables")
# What others leave in any folder, and a write that was killed.
PASSING = (".DS_Store", ".directory")


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
    names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    found = [name for name in names if name not in PASSING and not _is_unfinished(name)]
    strange = [name for name in found if name not in WRITTEN and not name.startswith(ROUND)]
    if not strange and set(found) - {IGNORE} and not _is_marked(folder):
        strange = [name for name in found if name != IGNORE]
    if strange:
        raise UsageError(
            f"{named} holds {strange[0]!r}, which no audit wrote there; name an empty folder, since its files become readable by you alone"
        )


def _is_unfinished(name: str) -> bool:
    """Whether a file is what a killed write of an audit left."""
    return name.startswith(".") and name.endswith(artifacts.PART)


def _is_marked(folder: Path) -> bool:
    """Whether an audit has made this folder its own."""
    try:
        return (folder / IGNORE).read_text(encoding="utf-8") == EVERYTHING
    except (OSError, UnicodeDecodeError):
        return False


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


def private_folder(folder: Path, rounds: Collection[str] = ()) -> Path:
    """Make a folder that its owner alone may enter and that git ignores, or take one of an earlier audit.

    rounds: folders that an audit of rounds has in it.

    Raises:
        UsageError: it is a file, or holds files that no audit wrote, or an audit of another kind or of other rounds.
    """
    refuse_taken(folder)
    there = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    others = [name for name in there if name.startswith(ROUND) and name not in rounds]
    others += [PARTS] if rounds and PARTS in there else []
    if others:
        raise UsageError(
            f"{folder} holds {min(others)!r} of another audit, whose pictures would stay there; name another folder, or delete it"
        )
    own_folder(folder)
    ignored = folder / IGNORE
    if not ignored.exists():
        artifacts.write_text(ignored, EVERYTHING)
        ignored.chmod(FILE)
    return folder


def own_folder(folder: Path) -> Path:
    """Make a folder, or take one, that its owner alone may enter.

    Raises:
        ArtifactError: the place takes none.
    """
    try:
        artifacts.make_folder(folder)
        folder.chmod(FOLDER)
    except OSError as error:
        raise ArtifactError(
            f"could not make the folder {folder}: {error.strerror}. Choose another place"
        ) from error
    return folder


@contextmanager
def held(folder: Path | None) -> Iterator[None]:
    """Keep other audits out of a folder meanwhile; the system forgets the lock of a process that dies.

    Raises:
        UsageError: another audit runs there.
    """
    if folder is None:
        yield
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(place)
        raise UsageError(
            f"another audit is running in {folder}; wait for it, or name another folder"
        ) from error
    try:
        yield
    finally:
        os.close(place)


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
