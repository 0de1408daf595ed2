"""Prepared images on disk: one uint8 file per role with labels and source groups, memory-mapped and read on use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gradsiege import artifacts
from gradsiege.arithmetic import square_root

if TYPE_CHECKING:
    from torch import Tensor

IMAGES = "images"
CHANNELS = ("red", "green", "blue")
# Weights of the channels in luminance (ITU-R BT.601).
LUMINANCE = (0.299, 0.587, 0.114)
PART = 100  # images that are summed at a time


class StoredImages:
    """Images of one role, left on disk; those that are taken are float ``[k, c, h, w]`` in [0, 1], in memory of their own.

    Attributes:
        shape: ``(n, c, h, w)``.

    >>> import torch
    >>> StoredImages(torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(3, 1, 1, 1))[1:].flatten()
    tensor([0.2000, 1.0000])
    """

    def __init__(self, stored: Tensor) -> None:
        self.stored = stored
        self.shape = stored.shape

    def __getitem__(self, taken: slice | Tensor) -> Tensor:
        return self.stored[taken].float() / 255

    def channel_statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation (n - 1) of every channel, each ``[c]``, from exact sums of bytes."""
        import torch

        total, squares = torch.zeros(2, self.shape[1], dtype=torch.int64)
        for part in self.stored.split(PART):
            channels = part.transpose(0, 1).flatten(1).long()
            total += channels.sum(1)
            squares += channels.square().sum(1)
        n = self.stored.numel() / self.shape[1]
        mean = total.double() / n
        variance = (squares.double() - total.double() * mean) / (n - 1)
        return (mean / 255).float(), (square_root(variance.clamp(min=0)) / 255).float()


def load_images(path: Path) -> tuple[StoredImages, Tensor, list[str]]:
    """Return (images, labels int64 ``[n]``, class names) of one role; ``images[:]`` takes all of them into memory."""
    tensors, metadata = artifacts.map_tensors(path, IMAGES)
    return StoredImages(tensors["images"]), tensors["labels"].clone(), metadata["classes"]


def to_bytes(images: Tensor) -> Tensor:
    """Round images in [0, 1] to uint8; values outside are clipped.

    >>> import torch
    >>> to_bytes(torch.tensor([0.0, 0.5, 1.2]))
    tensor([  0, 128, 255], dtype=torch.uint8)
    """
    import torch

    return (images.clamp(0, 1) * 255).round().to(torch.uint8)
