"""Differentiable augmentation, which lets a discriminator learn from few images (Zhao et al., NeurIPS 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SHIFT = 1 / 8
CUT = 1 / 2


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return T(x) of images ``[n, c, h, w]`` in [-1, 1]: colour, translation, cutout, drawn image by image.

    Real and generated images both pass through T in both players' losses, so that T never leaks into
    the generator. Differentiable in the images.
    """
    return cut_out(translate(recolour(images, generator), generator), generator)


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return (low + (high - low) * torch.rand(n, generator=generator)).view(n, 1, 1, 1)


def recolour(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift brightness by up to 0.5, scale saturation by 0 to 2 and contrast by 0.5 to 1.5.

    images: ``[n, c, h, w]``, which is the shape of the result.
    """
    n = len(images)
    images = images + _uniform(n, -0.5, 0.5, generator)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * _uniform(n, 0.0, 2.0, generator)
    level = images.mean((1, 2, 3), keepdim=True)
    return level + (images - level) * _uniform(n, 0.5, 1.5, generator)


def translate(images: Tensor, generator: torch.Generator) -> Tensor:
    """Move every image by up to an eighth of its side in both directions; what comes in is 0.

    images: ``[n, c, h, w]``, which is the shape of the result.
    """
    n, _, height, width = images.shape
    reach = max(1, round(SHIFT * height))
    padded = F.pad(images, (reach, reach, reach, reach))
    down = torch.randint(0, 2 * reach + 1, (n, 1), generator=generator) + torch.arange(height)
    right = torch.randint(0, 2 * reach + 1, (n, 1), generator=generator) + torch.arange(width)
    rows = torch.arange(n)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[rows, down[:, :, None], right[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def cut_out(images: Tensor, generator: torch.Generator) -> Tensor:
    """Set a square of half the side to 0, centred anywhere in the image.

    images: ``[n, c, h, w]``, which is the shape of the result.
    """
    n, _, height, width = images.shape
    half = CUT / 2
    down = torch.randint(0, height, (n, 1), generator=generator)
    right = torch.randint(0, width, (n, 1), generator=generator)
    tall = (torch.arange(height) - down).abs() < half * height
    wide = (torch.arange(width) - right).abs() < half * width
    hole = tall[:, None, :, None] & wide[:, None, None, :]
    return images * ~hole
