"""A residual network from features to coefficients of an image basis: linear at first, and no wider than the images need."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Photographs of 32 pixels keep 99 % of their variance in about two hundred components.
MOST_COMPONENTS = 256
BLOCKS = 2


class Basis(NamedTuple):
    """The mean image ``[c, h, w]`` and principal components ``[components, c h w]``, each as long as images deviate along it."""

    mean: Tensor
    components: Tensor


def basis_of(images: Tensor) -> Basis:
    """Return the basis of images ``[n, c, h, w]``: at most n - 1 components.

    >>> basis = basis_of(torch.tensor([[[[0.0, 1.0]]], [[[2.0, 1.0]]]]))
    >>> basis.mean.tolist(), basis.components.abs().tolist()
    ([[[1.0, 1.0]]], [[1.0, 0.0]])
    """
    mean = images.mean(0)
    flat = (images - mean).flatten(1)
    _, lengths, directions = torch.linalg.svd(flat, full_matrices=False)
    number = min(MOST_COMPONENTS, len(images) - 1, len(lengths))
    scaled = lengths[:number, None] * directions[:number] / math.sqrt(len(images))
    return Basis(mean, scaled)


class ResidualInverter(nn.Module):
    """Linear regression on the features plus residual blocks (He et al., CVPR 2016) with layer norm, onto a basis of images.

    While it is trained, a share of the hidden units drops out, by an explicit generator.
    """

    def __init__(self, features: int, width: int, basis: Basis) -> None:
        super().__init__()
        self.mean, self.components = basis
        number = len(self.components)
        self.linear = nn.Linear(features, number)
        self.hidden = nn.Linear(features, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
            )
            for _ in range(BLOCKS)
        )
        self.output = nn.Linear(width, number)

    def start(self) -> None:
        """Begin with the mean image: both ways to the output are zero."""
        for layer in (self.linear, self.output):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, features: Tensor, dropout: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return images ``[n, c, h, w]``, not clipped, of features ``[n, features]``."""
        hidden = self.hidden(features)
        for block in self.blocks:
            hidden = hidden + dropped(block(hidden), dropout, generator)
        coefficients = self.output(dropped(F.relu(hidden), dropout, generator))
        coefficients = coefficients + self.linear(features)
        images: Tensor = self.mean + (coefficients @ self.components).unflatten(1, self.mean.shape)
        return images


def dropped(hidden: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    """Return hidden units of which a share is zero and the others make up for it (Srivastava et al., JMLR 2014)."""
    if not share:
        return hidden
    kept = torch.rand(hidden.shape, generator=generator) >= share
    return hidden * kept / (1 - share)
