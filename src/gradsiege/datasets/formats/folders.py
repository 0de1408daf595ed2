"""Folders of pictures: every entry is a picture, a folder, or is counted and named as left out.

Hidden entries and those of operating systems are left out, and so are files of other kinds. Links to files and folders are
followed, wherever they lead, and counted; a link that leads nowhere or back to a folder above itself is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from gradsiege.datasets.formats.remarks import Remarks

SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".tif", ".tiff", ".webp")
SYSTEM = ("__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "lost+found")


class Scan:
    """Reads the folders of one data set.

    Args:
        below: the folder that paths are named relative to.

    Attributes:
        remarks: what was left out, and which links were followed.
    """

    def __init__(self, below: Path) -> None:
        self.below = below
        self.remarks = Remarks()

    def folders(self, folder: Path) -> list[str]:
        """Names of the subfolders, in alphabetical order; all other entries are left out.

        Raises:
            ValueError: when two names differ only in case or spaces, or a link leads nowhere.
        """
        names = []
        for entry in self._entries(folder):
            if entry.is_dir():
                names.append(entry.name)
            else:
                self.remarks.add("files beside folders are left out", self._name(entry.path))
        refuse_look_alikes(names, f"{self._name(folder)}: the folders")
        return sorted(names)

    def pictures(self, folder: Path) -> list[str]:
        """Paths of the pictures in a folder and its subfolders, relative to `below`, in alphabetical order.

        Raises:
            ValueError: when a link leads nowhere, or back to a folder above itself.
        """
        return sorted(self._pictures(folder, (os.path.realpath(folder),)))

    def pictures_of_class(self, folder: Path) -> list[str]:
        """Pictures of a class folder; those in subfolders belong to the class, and are counted."""
        pictures = self.pictures(folder)
        depth = len(Path(self._name(folder)).parts) + 1
        for path in pictures:
            if path.count("/") >= depth:
                self.remarks.add("pictures in folders below their class's are read", path)
        return pictures

    def holds_pictures(self, folder: Path) -> bool:
        """Whether pictures lie in the folder itself, not in its subfolders."""
        return any(
            entry.is_file() and Path(entry.name).suffix.lower() in SUFFIXES
            for entry in Scan(self.below)._entries(folder)
        )

    def reaches_pictures(self, folder: Path) -> bool:
        """Whether pictures lie in the folder or below it."""
        return self.holds_pictures(folder) or bool(Scan(self.below).pictures(folder))

    def _pictures(self, folder: Path, above: tuple[str, ...]) -> list[str]:
        pictures: list[str] = []
        # Once per folder, not once per file: a source may hold a million.
        here = self._name(folder)
        prefix = "" if here == "." else f"{here}/"
        for entry in self._entries(folder):
            if entry.is_dir():
                real = os.path.realpath(entry.path) if entry.is_symlink() else ""
                if real and any(_holds(real, other) for other in above):
                    raise ValueError(
                        f"{self._name(entry.path)} is a link that leads back to a folder above it; delete the link"
                    )
                inner = real or os.path.join(above[-1], entry.name)  # noqa: PTH118
                pictures += self._pictures(Path(entry.path), (*above, inner))
            elif entry.is_file() and os.path.splitext(entry.name)[1].lower() in SUFFIXES:  # noqa: PTH122
                pictures.append(prefix + entry.name)
            else:
                self.remarks.add("files of other kinds are left out", self._name(entry.path))
        return pictures

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """Entries of a folder except for hidden ones; names and links are checked."""
        visible = []
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith(".") or entry.name.lower() in SYSTEM:
                    self.remarks.add(
                        "hidden and system files and folders are left out", self._name(entry.path)
                    )
                    continue
                self._refuse_undecodable(entry)
                if entry.is_symlink():
                    self._look_at_link(entry)
                visible.append(entry)
        return visible

    def _refuse_undecodable(self, entry: os.DirEntry[str]) -> None:
        """Refuse a name that no table, data card or report could hold."""
        try:
            entry.name.encode()
        except UnicodeEncodeError:
            kind = "folder" if entry.is_dir() else "file"
            raise ValueError(
                f"the {kind} {self._name(entry.path)!a} has a name that is not valid text (UTF-8); rename it"
            ) from None

    def _look_at_link(self, entry: os.DirEntry[str]) -> None:
        name, real = self._name(entry.path), os.path.realpath(entry.path)
        if not os.path.exists(real):  # noqa: PTH110
            raise ValueError(f"{name} is a link that leads nowhere; mend or delete it")
        inside = _holds(os.path.realpath(self.below), real)
        self.remarks.add(
            "links are followed" if inside else "links that lead out of the folder are followed",
            name,
        )

    def _name(self, path: str | Path) -> str:
        return os.path.relpath(path, self.below).replace(os.sep, "/")


def _holds(folder: str, path: str) -> bool:
    """Whether a path is a folder or lies in it; both are real paths.

    >>> _holds("/a", "/a/b"), _holds("/a", "/ab")
    (True, False)
    """
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def refuse_look_alikes(names: Iterable[str], what: str) -> None:
    """Refuse two different names that differ only in case or spaces.

    >>> refuse_look_alikes(["cat", "Cat "], "labels")
    Traceback (most recent call last):
    ValueError: labels 'cat' and 'Cat ' differ only in case or spaces; write one of them in both places
    """
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(" ".join(name.casefold().split()), name)
        if other != name:
            raise ValueError(
                f"{what} {other!r} and {name!r} differ only in case or spaces; write one of them in both places"
            )


def refuse_empty_class(name: str, folder: str, scan: Scan) -> None:
    """Refuse a class without a picture, naming what its folder holds instead."""
    left_out = "; ".join(scan.remarks.sentences())
    raise ValueError(
        f"class {name!r}: {folder} holds no picture ({', '.join(SUFFIXES)}){'; ' + left_out if left_out else ''}. "
        "Put pictures there, or remove the folder"
    )
