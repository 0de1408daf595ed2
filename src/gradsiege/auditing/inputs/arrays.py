"""Pictures and updates as arrays: ``.npz`` without objects, safetensors, and PyTorch files of tensors alone."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradsiege.auditing.inputs.finite import not_finite
from gradsiege.auditing.inputs.labels import MOST_CLASSES
from gradsiege.auditing.inputs.selection import Pictures, partly_read, turns
from gradsiege.auditing.inputs.weights import read_tensors
from gradsiege.errors import ArtifactError, UsageError, in_a_line

# A compressed file may claim to unpack to any size; more than this is refused before it is unpacked.
MOST_BYTES = 2**33


def named_arrays(path: Path, option: str) -> dict[str, Tensor]:
    """Return the arrays of a file by name.

    Every tensor has the shape that the file states.

    Raises:
        UsageError: the file is not there.
        ArtifactError: it is damaged, too large, or holds Python objects.
    """
    if path.suffix != ".npz":
        return read_tensors(path, option)
    if not path.is_file():
        raise UsageError(f"{option} {path} is not a file")
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            names = archive.namelist()
        if unpacked > MOST_BYTES:
            raise ArtifactError(
                f"{option} {path} would unpack to {unpacked / 2**30:.0f} GiB, and at most {MOST_BYTES / 2**30:.0f} are read"
            )
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ArtifactError(f"{option} {path} holds {twice!r} twice; save every array once")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: _tensor(arrays, name, f"{option} {path}") for name in arrays.files}
    except ArtifactError:
        raise
    except Exception as error:  # a damaged file fails in many ways
        raise ArtifactError(
            f"{option} {path} is refused: {in_a_line(error)}; save plain arrays with numpy.savez"
        ) from error


def _tensor(arrays: Mapping[str, Any], name: str, place: str) -> Tensor:
    """Return one array of a file; one of text or of Python objects is refused by its name."""
    try:
        array = np.ascontiguousarray(arrays[name])
    except ValueError as error:
        raise ArtifactError(
            f"{place}: {name} is refused: {error}; save plain numbers with numpy.savez"
        ) from error
    if array.dtype.kind not in "biuf":
        raise ArtifactError(
            f"{place}: {name} holds {array.dtype}, which are not numbers; give numbers, and classes as whole numbers from 0"
        )
    return torch.from_numpy(array)


def read_arrays(path: Path, most: int, option: str) -> Pictures:
    """Return at most `most` pictures of a file that holds ``images`` and, perhaps, ``labels`` and ``groups``.

    Images are ``[n, c, h, w]``, ``[n, h, w, c]`` or, grey, ``[n, h, w]``; bytes, or numbers in [0, 1].

    Raises:
        UsageError: arrays of another name, shape or range.
    """
    arrays = named_arrays(path, option)
    if "images" not in arrays:
        raise UsageError(
            f"{option} {path} holds {', '.join(sorted(arrays)) or 'nothing'}; name the pictures `images`, and their classes `labels`"
        )
    strange = not_finite(arrays["images"], "images")
    if strange:
        raise UsageError(f"{option} {path}: {strange}; mend that picture, or leave it out")
    images = _in_order(arrays["images"], f"{option} {path}")
    labels, groups = (
        _numbers(arrays, name, len(images), f"{option} {path}") for name in ("labels", "groups")
    )
    marks = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels
    chosen = torch.from_numpy(turns(marks.numpy(), most))
    remarks = partly_read(len(chosen), len(images), labels is not None)
    images = images[chosen]
    if not images.dtype.is_floating_point:
        images = images.float() / 255
    return Pictures(
        images.float(),
        None if labels is None else labels[chosen],
        None if groups is None else groups[chosen],
        remarks=remarks,
        names=tuple(f"picture {index}" for index in chosen.tolist()),
    )


def _in_order(images: Tensor, place: str) -> Tensor:
    if images.dim() == 3:
        images = images[:, None]
    if images.dim() != 4 or not images.numel():
        raise UsageError(
            f"{place}: images have shape {list(images.shape)}; give [n, channels, height, width], at least one"
        )
    if images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        images = images.permute(0, 3, 1, 2).contiguous()
    if images.dtype.is_floating_point:
        low, high = float(images.min()), float(images.max())
        if low < 0 or high > 1:
            raise UsageError(
                f"{place}: images range from {low:.3g} to {high:.3g}; give pixels in [0, 1], or bytes"
            )
    elif images.dtype != torch.uint8:
        raise UsageError(f"{place}: images hold {images.dtype}; give bytes, or numbers in [0, 1]")
    return images


def _numbers(arrays: dict[str, Tensor], name: str, count: int, place: str) -> Tensor | None:
    values = arrays.get(name)
    if values is None:
        return None
    strange = not_finite(values, name)
    if strange:
        raise UsageError(f"{place}: {strange}; give one whole number per image")
    flat = values.squeeze()
    flat = flat[None] if flat.dim() == 0 else flat
    if flat.dtype.is_floating_point or tuple(flat.shape) != (count,):
        raise UsageError(
            f"{place}: {name} have shape {list(values.shape)} and type {values.dtype}; give one whole number per image, [{count}]"
        )
    least, most = (int(end) for end in (flat.numpy().min(), flat.numpy().max()))
    limit = MOST_CLASSES if name == "labels" else 2**63
    if most >= limit:
        raise UsageError(
            f"{place}: {name} range from {least} to {most}; give whole numbers below {limit}"
        )
    return flat.long()
