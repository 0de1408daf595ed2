"""The folder of an audit holds private pictures: it is its owner's alone."""

from __future__ import annotations

from pathlib import Path

from gradsiege import artifacts
from gradsiege.errors import UsageError

FOLDER, FILE = 0o700, 0o600
# Names that an audit writes; a folder with others is somebody else's.
ROUND = "round-"
WRITTEN = ("parts", "plan.json", "manifest.json", "audit.json", "index.html", "tables")


def private_folder(folder: Path) -> Path:
    """Make a folder that its owner alone may enter, or take one of an earlier audit.

    Raises:
        UsageError: it is a file, or holds files that no audit wrote.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; name a folder for the audit")
    strange = sorted(
        entry.name
        for entry in (folder.iterdir() if folder.is_dir() else ())
        if entry.name not in WRITTEN and not entry.name.startswith((".", ROUND))
    )
    if strange:
        raise UsageError(
            f"{folder} holds {strange[0]!r}, which no audit writes; name an empty folder, since its files become readable by you alone"
        )
    artifacts.make_folder(folder)
    folder.chmod(FOLDER)
    return folder


def lock_up(folder: Path) -> None:
    """Take all rights on a folder's files and folders from everybody but their owner."""
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(FOLDER if path.is_dir() else FILE)
    folder.chmod(FOLDER)
