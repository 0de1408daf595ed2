"""Images for training a prior in Python: tensors or arrays, checked before the training starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradsiege import catalogue
from gradsiege.errors import ModelError


def accepted(
    prior: str, parameters: Mapping[str, Any], images: Any, labels: Any, square: bool = False
) -> tuple[Tensor, Tensor]:
    """Return images float32 ``[n, c, h, w]`` and labels int64 ``[n]``, both on the CPU.

    Args:
        prior, parameters: name and fields of the prior.
        images, labels: as for `Prior.fit`.
        square: whether height and width must be equal.

    Raises:
        ModelError: they do not fit each other, or the prior needs more of them or another size.
    """
    pictures, classes = _tensor(images, "images"), _tensor(labels, "labels")
    if pictures.dim() != 4 or not pictures.dtype.is_floating_point:
        raise ModelError(
            f"{prior}: images have shape {list(pictures.shape)} and type {pictures.dtype}; give floats "
            "[n, channels, height, width]"
        )
    if classes.shape != pictures.shape[:1] or classes.dtype.is_floating_point:
        raise ModelError(
            f"{prior}: labels have shape {list(classes.shape)} and type {classes.dtype}; give one whole number per "
            f"image, [{len(pictures)}]"
        )
    _refuse_few_or_unfit(prior, parameters, pictures)
    height, width = pictures.shape[-2:]
    if square and height != width:
        raise ModelError(
            f"{prior}: images have {height} x {width} pixels (height x width), and it learns from square ones alone; crop or pad them "
            "to a square, or take another prior, such as PCA or Autoencoder"
        )
    if not bool(((pictures >= 0) & (pictures <= 1)).all()):
        raise ModelError(f"{prior}: images hold values outside [0, 1]; give pixels in [0, 1]")
    return pictures.float(), classes.long()


def _tensor(given: Any, name: str) -> Tensor:
    try:
        tensor = given if isinstance(given, Tensor) else torch.from_numpy(np.asarray(given))
    except TypeError:
        raise ModelError(f"{name} is {type(given).__name__}; give a tensor or an array") from None
    return tensor.detach().cpu()


def _refuse_few_or_unfit(prior: str, parameters: Mapping[str, Any], pictures: Tensor) -> None:
    """Refuse too few images for the prior, and images of a size that it cannot generate."""
    entry = catalogue.entries("priors").get(prior)
    least = entry.least_images if entry else 1
    owned = round(parameters.get("fraction", 1.0) * len(pictures))
    if owned < least:
        raise ModelError(
            f"{prior}: {owned} images are too few, at least {least} are needed; give more"
        )
    for side in pictures.shape[-2:]:
        refused = entry.refused_side(side, dict(parameters)) if entry else ""
        if refused:
            raise ModelError(f"{refused}; resize the images")
