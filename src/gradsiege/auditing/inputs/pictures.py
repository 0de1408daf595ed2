"""The user's pictures: a folder, a table, or arrays; as many as the audit needs are decoded, and no more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gradsiege.auditing.inputs.arrays import read_arrays
from gradsiege.auditing.inputs.labels import named, refuse_numbers
from gradsiege.auditing.inputs.selection import Pictures, partly_read, turns
from gradsiege.errors import GradSiegeError, UsageError
from gradsiege.extras import need
from gradsiege.images import LUMINANCE

if TYPE_CHECKING:
    from gradsiege.datasets.preparation.listing import Listing

TABLES, ARRAYS = (".csv",), (".npz", ".safetensors", ".pt", ".pth")


def read_pictures(
    source: Path, most: int, size: int | None, channels: int | None, option: str = "--images"
) -> Pictures:
    """Return at most `most` pictures of a source, class after class in turn, chosen by a fixed seed.

    Args:
        source: a folder (its subfolders are the classes; without subfolders there are no labels), a table (``.csv`` with the
            columns path and label, perhaps group), or arrays (``.npz``, ``.safetensors``, ``.pt`` with ``images`` and ``labels``).
        most: number of pictures that are read.
        size: side of the square that pictures are cut and resized to; None leaves them as they are.
        channels: 1 for grey, 3 for colour; None: as the pictures are.
        option: name of the option, for messages.

    Raises:
        UsageError: there is nothing to read, or pictures differ in size and none is given.
    """
    if source.suffix in ARRAYS and source.is_file():
        return shaped(read_arrays(source, most, option), size, channels, option)
    if not source.exists():
        raise UsageError(
            f"{option} {source} does not exist; name a folder, a table or a file of arrays"
        )
    need("PIL")
    labelled = True
    try:
        if source.is_dir():
            listing, labelled = _of_folder(source)
        elif source.suffix in TABLES:
            listing = _of_table(source)
        else:
            raise UsageError(
                f"{option} {source}: give a folder, a table ({', '.join(TABLES)}) or arrays ({', '.join(ARRAYS)})"
            )
        if labelled:
            refuse_numbers(listing)
        chosen = turns(listing.labels, most)
        order = np.sort(chosen)
        decoded = dict(zip(order.tolist(), listing.read(order), strict=True))
        read_in_part = partly_read(len(chosen), len(listing.labels), labelled)
        remarks = (*listing.notes, *listing.seen(), *read_in_part)
    except (ValueError, FileNotFoundError) as error:
        raise UsageError(f"{option} {source}: {error}") from error
    names = [listing.paths[index] for index in chosen.tolist()]
    images = _stacked([decoded[index] for index in chosen.tolist()], names, size, option)
    groups = None if listing.groups is None else torch.from_numpy(listing.groups[chosen])
    read = Pictures(
        images,
        torch.from_numpy(listing.labels[chosen]) if labelled else None,
        groups,
        named(listing.classes) if labelled else (),
        remarks,
        tuple(names),
    )
    return shaped(_numbered(read, listing) if labelled else read, None, channels, option)


def _of_folder(folder: Path) -> tuple[Listing, bool]:
    """Return the listing of a folder, and whether its subfolders are classes."""
    from gradsiege.datasets.formats.folders import Scan
    from gradsiege.datasets.formats.pictures import Reading, Row, list_files
    from gradsiege.datasets.image_folder import ImageFolder

    place = folder.resolve()
    if Scan(place).folders(place):
        return ImageFolder(path=place.name).listing(place.parent), True
    scan = Scan(place)
    rows = [Row(path, 0) for path in scan.pictures(place)]
    if not rows:
        raise ValueError("it holds no picture; pictures are JPEG, PNG, BMP, TIFF or WebP files")
    reading = Reading(background="white", upright=True, user_files=True)
    return list_files(place, rows, ("",), scan.remarks.sentences(), reading), False


def _of_table(table: Path) -> Listing:
    from gradsiege.datasets.image_manifest import ImageManifest

    place = table.resolve()
    try:
        return ImageManifest(file=place.name).listing(place.parent)
    except GradSiegeError as error:
        raise ValueError(str(error)) from error


def _numbered(read: Pictures, listing: Listing) -> Pictures:
    """Return pictures whose labels are the numbers that stand in the source, where all of them are numbers."""
    if named(listing.classes) or read.labels is None:
        return read
    numbers = torch.tensor([int(name) for name in listing.classes])
    return replace(read, labels=numbers[read.labels], classes=())


def _stacked(decoded: list[np.ndarray], names: list[str], size: int | None, option: str) -> Tensor:
    """Return pictures as one tensor, grey or colour, cut to squares and resized if a size is given."""
    from gradsiege.datasets.preparation.resample import middle, square

    colour = any(picture.ndim == 3 for picture in decoded)
    if size is not None:
        planes = [square(middle(picture), size) for picture in decoded]
        stacked = torch.from_numpy(np.stack(planes)).float() / 255
        return stacked if colour else stacked[:, :1]
    for picture, name in zip(decoded, names, strict=True):
        if picture.shape[:2] != decoded[0].shape[:2]:
            raise UsageError(
                f"{option}: {names[0]} has {_sides(decoded[0])} pixels and {name} has {_sides(picture)}; give --size, to which "
                "all are cut and resized"
            )
    full = [
        picture if not colour or picture.ndim == 3 else picture[..., None].repeat(3, 2)
        for picture in decoded
    ]
    stacked = torch.from_numpy(np.stack(full)).float() / 255
    return stacked.permute(0, 3, 1, 2).contiguous() if colour else stacked[:, None]


def _sides(picture: np.ndarray) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"


def shaped(
    pictures: Pictures, size: int | None, channels: int | None, option: str = "--images"
) -> Pictures:
    """Return pictures of `size` pixels and as many channels as the network takes; None leaves either as it is.

    Grey pictures are repeated for a colour network; colour becomes luminance for a grey one.

    Raises:
        UsageError: a number of channels that is neither.
    """
    images, remarks = pictures.images, list(pictures.remarks)
    if size is not None and tuple(images.shape[2:]) != (size, size):
        images = resized(images, size)
        remarks.append(f"the pictures were cut to their central square and resized to {size} px")
    if channels is not None and images.shape[1] != channels:
        if images.shape[1] == 1:
            images = images.expand(-1, channels, -1, -1).contiguous()
            remarks.append(f"the pictures are grey, repeated to {channels} channels")
        elif images.shape[1] == 3 and channels == 1:
            weights = torch.tensor(LUMINANCE).view(1, 3, 1, 1)
            images = (images * weights).sum(1, keepdim=True)
            remarks.append("the pictures were turned to grey, as the network takes one channel")
        else:
            raise UsageError(
                f"{option}: the pictures have {images.shape[1]} channels and the network takes {channels}; give pictures of as many"
            )
    return replace(pictures, images=images, remarks=tuple(remarks))


def resized(images: Tensor, size: int) -> Tensor:
    """Return images ``[n, c, h, w]`` in [0, 1], their central square resized to `size` pixels.

    >>> resized(torch.full((1, 1, 4, 6), 0.5), 2).shape
    torch.Size([1, 1, 2, 2])
    """
    height, width = images.shape[2:]
    side = min(height, width)
    y, x = (height - side) // 2, (width - side) // 2
    cut = images[:, :, y : y + side, x : x + side]
    scaled = torch.nn.functional.interpolate(
        cut, size=(size, size), mode="bicubic", align_corners=False, antialias=True
    )
    return scaled.clamp(0, 1)
