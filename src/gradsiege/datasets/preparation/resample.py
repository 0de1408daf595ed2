"""Resizing to square RGB: an anti-aliased filter down, a smooth one up."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from gradsiege.datasets.preparation.splits import Bytes


def square(pixels: npt.NDArray[Any], size: int) -> Bytes:
    """Resize one square image and give it three channels.

    Shrinking uses Pillow's Hamming window, whose support grows with the factor (so nothing
    aliases and nothing rings); enlarging uses bicubic interpolation. Both are integer arithmetic
    in Pillow, so the bytes do not depend on the processor. Grey images are replicated.

    Args:
        pixels: uint8 ``[side, side]`` or ``[side, side, 3]``.
        size: side of the result in pixels.

    Returns:
        uint8 ``[3, size, size]``.

    >>> square(np.full((25, 25), 7, dtype=np.uint8), 32).shape
    (3, 32, 32)
    """
    shrinking = size < len(pixels)
    method = Image.Resampling.HAMMING if shrinking else Image.Resampling.BICUBIC
    resized = np.asarray(Image.fromarray(pixels).resize((size, size), method))
    planes = resized[..., None].repeat(3, axis=2) if resized.ndim == 2 else resized
    return np.ascontiguousarray(planes.transpose(2, 0, 1))


def middle(pixels: Bytes) -> Bytes:
    """Cut the central square out of an image, uint8 ``[h, w]`` or ``[h, w, 3]``.

    >>> middle(np.array([[1, 2, 3, 4]], dtype=np.uint8)).tolist()
    [[2]]
    """
    height, width = pixels.shape[:2]
    side = min(height, width)
    y, x = (height - side) // 2, (width - side) // 2
    return pixels[y : y + side, x : x + side]
