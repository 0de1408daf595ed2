"""Image files: decoded one at a time, bounded in size, refused by name when they cannot be read."""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from gradsiege.datasets.formats.depth import Depths, shallow
from gradsiege.datasets.formats.remarks import Remarks
from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.preparation.splits import Bytes, Integers

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
# Larger than any photograph of the field; a small file can claim to be gigapixels wide.
MOST_PIXELS = 2**26
COLOURS = {"white": (255, 255, 255), "grey": (128, 128, 128), "black": (0, 0, 0)}
# The inverse of each EXIF orientation except for the usual one.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Row(NamedTuple):
    """One image: its path relative to the data set's folder, label, group (empty: its own), and official part."""

    path: str
    label: int
    group: str = ""
    tested: bool = False


@dataclass(frozen=True)
class Reading:
    """How the files of a data set become pixels; the defaults are those of published data sets, whose bytes stay.

    Attributes:
        bits: depth of the values of files of more than 8 bits; None: as the file's own mode says.
        background: colour that transparent pictures are laid on (a key of `COLOURS`); empty: transparency is dropped.
        upright: whether pictures are turned as their EXIF orientation says.
        user_files: whether the files are the user's own: an error may then ask the user for `bits`.
    """

    bits: int | None = None
    background: str = ""
    upright: bool = False
    user_files: bool = False


class Seen:
    """Remarks about the pictures that were decoded."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.remarks = Remarks()
        self.depths = Depths(reading.bits, reading.user_files)

    def sentences(self) -> list[str]:
        """Return the sentences for the data card.

        Raises:
            ValueError: when the pictures use so little of their depth that almost nothing is left of them.
        """
        return [*self.remarks.sentences(), *self.depths.sentences()]


def decode(
    file: Path | IO[bytes], name: str, reading: Reading | None = None, seen: Seen | None = None
) -> Bytes:
    """Read an image as uint8 ``[h, w]`` (grey) or ``[h, w, 3]``.

    Grey of more than 8 bits keeps the upper eight of its depth; palettes and other colour models are turned into RGB; the
    first picture of several (animation, pages) is taken. `reading` sets all other choices, and `seen` collects the remarks.

    Raises:
        ValueError: names the image when it is damaged, of an unknown kind, larger than `MOST_PIXELS`, or holds values
            that its stated depth does not.
    """
    reading = reading or Reading()
    seen = seen or Seen(reading)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(file, formats=FORMATS)
        refusal = _refusal(image, reading)
        if not refusal:
            bits = _bits(image)
            _remark(image, name, bits, seen)
            pixels = _pixels(image, name, reading, seen)
    except FileNotFoundError as error:
        raise ValueError(f"{name} is missing") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # A value error is what the library makes of a text chunk that unpacks to more than a megabyte, for one.
        raise ValueError(f"{name} is not an image that can be read: {error}") from error
    if refusal:
        raise ValueError(f"{name} {refusal}")
    seen.depths.add(name, pixels, bits)
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    return shallow(
        pixels.astype(np.uint16, copy=False),
        reading.bits or (bits if reading.user_files else 16),
        name,
    )


def _refusal(image: Image.Image, reading: Reading) -> str:
    """Why an image is not read, from what its header says; empty if it is."""
    if image.width * image.height > MOST_PIXELS:
        return f"is {image.width} by {image.height} pixels, more than {MOST_PIXELS}; leave it out"
    if image.mode in ("I", "F"):
        return "has pixels of 32 bits; convert it to 8 bits"
    deep, grey = _bits(image) > 8, image.mode.startswith("I;16")
    if deep and not grey and reading.bits not in (None, 16):
        return (
            f"has colours of 16 bits, of which the upper 8 are read; `bits: {reading.bits}` cannot be applied to "
            "them, so convert it to 8 bits"
        )
    if grey and reading.user_files and image.info.get("transparency") is not None:
        return "has 16 bits and a transparent value; convert it to 8 bits"
    return ""


def _bits(image: Image.Image) -> int:
    """Depth of the file's values: 16 or 12 where its header says so, else 8.

    The library reduces colours of 16 bits to the upper 8, so that the mode alone does not tell.
    """
    raw = " ".join(str(part) for part in getattr(image, "tile", ()))
    if "I;12" in raw:
        return 12
    return 16 if image.mode.startswith("I;16") or re.search(r";16[BLN]", raw) else 8


def _remark(image: Image.Image, name: str, bits: int, seen: Seen) -> None:
    if bits > 8 and not image.mode.startswith("I;16"):
        seen.remarks.add("colours of 16 bits keep their upper 8", name)
    if bits == 8 and seen.reading.bits:
        seen.remarks.add("pictures have 8 bits, and `bits` does not concern them", name)
    if getattr(image, "is_animated", False):
        seen.remarks.add("of pictures with several frames or pages the first is read", name)


def _pixels(
    image: Image.Image, name: str, reading: Reading, seen: Seen
) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Pixels with the depth of the file: uint8, or uint16 for deep grey."""
    turn = _turn(image) if reading.upright else None
    if image.mode.startswith("I;16"):
        image = Image.fromarray(np.asarray(image).astype(np.uint16))
    else:
        image = _opaque(image, name, reading, seen)
    if turn is not None:
        seen.remarks.add("pictures are turned as their EXIF orientation says", name)
        image = image.transpose(turn)
    return np.asarray(image)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """The operation that turns the picture upright, or None if it is upright."""
    try:
        return TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (TypeError, KeyError, struct.error) as error:
        raise ValueError(f"its EXIF block is damaged ({error}); remove it") from error


def _opaque(image: Image.Image, name: str, reading: Reading, seen: Seen) -> Image.Image:
    """The picture as L or RGB, laid on the background where it is transparent."""
    if not (reading.background and image.has_transparency_data):
        return image if image.mode in ("L", "RGB") else image.convert("RGB")
    layer = image.convert("RGBA")
    if layer.getchannel("A").getextrema()[0] == 255:
        return layer.convert("RGB")
    seen.remarks.add(f"transparent pictures are laid on {reading.background}", name)
    ground = Image.new("RGBA", layer.size, (*COLOURS[reading.background], 255))
    return Image.alpha_composite(ground, layer).convert("RGB")


def decode_bytes(content: bytes, name: str) -> Bytes:
    """Read an image that was taken out of an archive."""
    return decode(io.BytesIO(content), name)


def list_files(
    folder: Path,
    rows: Sequence[Row],
    classes: Sequence[str],
    notes: Sequence[str] = (),
    reading: Reading | None = None,
) -> Listing:
    """List image files; each is opened when it is asked for, and not before. `notes` are for the data card."""
    if not rows:
        raise ValueError(f"{folder} holds no image with a label")
    reading = reading or Reading()
    seen = Seen(reading)

    def read(indices: Integers) -> Iterator[Bytes]:
        for index in indices.tolist():
            yield decode(folder / rows[index].path, rows[index].path, reading, seen)

    tested = np.array([row.tested for row in rows])
    return Listing(
        tuple(classes),
        np.array([row.label for row in rows], dtype=np.int64),
        read,
        tested if tested.any() else None,
        _numbered(rows),
        tuple(row.path for row in rows),
        tuple(notes),
        seen.sentences,
    )


def _numbered(rows: Sequence[Row]) -> Integers | None:
    """Groups as numbers in order of appearance; an image without one is a group of its own."""
    if not any(row.group for row in rows):
        return None
    numbers: dict[str, int] = {}
    keys = (f"group {row.group}" if row.group else f"image {row.path}" for row in rows)
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
