"""Image files: decoded one at a time, bounded in size, refused by name when they cannot be read."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from gradsiege.datasets.listing import Listing
from gradsiege.datasets.splits import Bytes, Integers

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".tif", ".tiff", ".webp")
# Larger than any photograph of the field; a small file can claim to be gigapixels wide.
MOST_PIXELS = 2**26


class Row(NamedTuple):
    """One image: its path relative to the data set's folder, label, group (empty: its own), and official part."""

    path: str
    label: int
    group: str = ""
    tested: bool = False


def decode(file: Path | IO[bytes], name: str) -> Bytes:
    """Read an image as uint8 ``[h, w]`` (grey) or ``[h, w, 3]``.

    Sixteen-bit grey keeps its upper eight bits; transparency and palettes are turned into RGB.

    Raises:
        ValueError: names the image when it is damaged, of an unknown kind, or larger than `MOST_PIXELS`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(file, formats=FORMATS)
        refusal = _refusal(image)
        if not refusal:
            return _pixels(image)
    except FileNotFoundError as error:
        raise ValueError(f"{name} is missing") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # A value error is what the library makes of a text chunk that unpacks to more than a megabyte, for one.
        raise ValueError(f"{name} is no image that can be read: {error}") from error
    raise ValueError(f"{name} {refusal}")


def _refusal(image: Image.Image) -> str:
    """Why an image is not read, from what its header says; empty if it is."""
    if image.width * image.height > MOST_PIXELS:
        return f"is {image.width} by {image.height} pixels, more than {MOST_PIXELS}; leave it out"
    return "has pixels of 32 bits; convert it to 8 bits" if image.mode in ("I", "F") else ""


def _pixels(image: Image.Image) -> Bytes:
    if image.mode.startswith("I;16"):
        return (np.asarray(image) >> 8).astype(np.uint8)
    return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))


def decode_bytes(content: bytes, name: str) -> Bytes:
    """Read an image that was taken out of an archive."""
    return decode(io.BytesIO(content), name)


def list_files(folder: Path, rows: Sequence[Row], classes: Sequence[str]) -> Listing:
    """List image files; each is opened when it is asked for, and not before."""

    def read(indices: Integers) -> Iterator[Bytes]:
        for index in indices.tolist():
            yield decode(folder / rows[index].path, rows[index].path)

    if not rows:
        raise ValueError(f"{folder} holds no image with a label")
    labels = np.array([row.label for row in rows], dtype=np.int64)
    tested = np.array([row.tested for row in rows])
    return Listing(tuple(classes), labels, read, tested if tested.any() else None, _numbered(rows))


def _numbered(rows: Sequence[Row]) -> Integers | None:
    """Groups as numbers in order of appearance; an image without one is a group of its own."""
    if not any(row.group for row in rows):
        return None
    numbers: dict[str, int] = {}
    keys = (f"group {row.group}" if row.group else f"image {row.path}" for row in rows)
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def images_in(folder: Path, below: Path) -> list[str]:
    """Paths of the images in a folder and its subfolders, relative to `below`, in alphabetical order."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return sorted(path.relative_to(below).as_posix() for path in found if path.is_file())


def class_folders(folder: Path) -> list[str]:
    """Names of the subfolders, in alphabetical order."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir())
