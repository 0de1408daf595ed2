"""A small vision transformer for 32 px images (Dosovitskiy et al., ICLR 2021): no batch norm, and no convolution except for the patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradsiege.models.base import Model
from gradsiege.ranges import MultipleOf, Range, Width

VERSION = 2
SIDE_MULTIPLE = "patch"


@dataclass(frozen=True)
class ViTSmall(Model):
    """Patches, blocks of attention and perceptrons, and a linear head on the mean over tokens.

    Attributes:
        patch: side of a patch in pixels; the image's side is a multiple of it.
        width: coordinates of a token, a multiple of `heads`.
        depth: number of blocks.
        heads: of attention in every block.
    """

    name = "vit_small"

    patch: Annotated[int, Range(1, 512)] = 4
    width: Annotated[int, Range(1, 4096), MultipleOf("heads")] = 192
    depth: Annotated[int, Range(1, 1000)] = 6
    heads: Width = 3

    def network(self, classes: int, channels: int, size: int) -> nn.Module:
        """Return the network; the side must be a multiple of the patch, the width of the heads."""
        if size % self.patch or self.width % self.heads:
            raise ValueError(
                f"vit_small: {size} px is not a multiple of the patch {self.patch}, "
                f"or width {self.width} none of {self.heads} heads"
            )
        return VisionTransformer(self, classes, channels, size)


class Block(nn.Module):
    """Pre-norm self-attention and a two-layer perceptron of four times the width."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens ``[n, t, width]`` to tokens; softmax attention in plain, twice differentiable operations."""
        n, t, width = x.shape
        packed = self.attention(self.norm1(x)).view(n, t, 3, self.heads, width // self.heads)
        query, key, value = packed.permute(2, 0, 3, 1, 4)
        scores = (query @ key.transpose(-2, -1)) * (width // self.heads) ** -0.5
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(n, t, width)
        x = x + self.projection(mixed)
        tokens: Tensor = x + self.narrow(F.gelu(self.wide(self.norm2(x))))
        return tokens


class VisionTransformer(nn.Module):
    """Patch embedding, learned positions, blocks, mean over tokens, linear head."""

    def __init__(self, model: ViTSmall, classes: int, channels: int, size: int) -> None:
        super().__init__()
        width, patch = model.width, model.patch
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.positions = nn.Parameter(torch.empty(1, (size // patch) ** 2, width))
        blocks = [Block(width, model.heads) for _ in range(model.depth)]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def initialize_(self, generator: torch.Generator) -> None:
        """Draw the positions from N(0, 0.02^2); layer norms start at the identity."""
        self.positions.normal_(0, 0.02, generator=generator)
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                module.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Return logits.

        Takes images ``[n, c, h, w]``, returns ``[n, classes]``.
        """
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.head(self.norm(self.blocks(tokens)).mean(1))
        return logits
