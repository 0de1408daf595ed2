"""Prepared images on disk: one file per role, uint8, with labels and source groups."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gradsiege import artifacts

if TYPE_CHECKING:
    from torch import Tensor

IMAGES = "images"


def load_images(path: Path) -> tuple[Tensor, Tensor, list[str]]:
    """Return (images float ``[n, c, h, w]`` in [0, 1], labels int64 ``[n]``, class names) of one role."""
    tensors, metadata = artifacts.read_tensors(path, IMAGES)
    return tensors["images"].float() / 255, tensors["labels"], metadata["classes"]


def to_bytes(images: Tensor) -> Tensor:
    """Round images in [0, 1] to uint8; values outside are clipped.

    >>> import torch
    >>> to_bytes(torch.tensor([0.0, 0.5, 1.2]))
    tensor([  0, 128, 255], dtype=torch.uint8)
    """
    import torch

    return (images.clamp(0, 1) * 255).round().to(torch.uint8)
