"""A small vision transformer for 32 px images (Dosovitskiy et al., ICLR 2021): no batch norm, no convolution but the patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradsiege.models import ModelSpec
from gradsiege.ranges import Checked, MultipleOf, Range, Width

VERSION = 2
SIDE_MULTIPLE = "patch"


@dataclass(frozen=True)
class Parameters(Checked):
    """Patch side in pixels, width, number of blocks and of attention heads."""

    patch: Annotated[int, Range(1, 512)] = 4
    width: Annotated[int, Range(1, 65536), MultipleOf("heads")] = 192
    depth: Annotated[int, Range(1, 1000)] = 6
    heads: Width = 3


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

    def __init__(self, spec: ModelSpec, parameters: Parameters) -> None:
        super().__init__()
        width, patch = parameters.width, parameters.patch
        self.patches = nn.Conv2d(spec.channels, width, patch, stride=patch)
        self.positions = nn.Parameter(torch.empty(1, (spec.size // patch) ** 2, width))
        blocks = [Block(width, parameters.heads) for _ in range(parameters.depth)]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, spec.classes)

    def initialize_(self, generator: torch.Generator) -> None:
        """Draw the positions from N(0, 0.02^2); layer norms start at the identity."""
        self.positions.normal_(0, 0.02, generator=generator)
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                module.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.head(self.norm(self.blocks(tokens)).mean(1))
        return logits


def build(spec: ModelSpec, parameters: Parameters) -> nn.Module:
    """Return the network; the side must be a multiple of the patch, the width of the heads."""
    if spec.size % parameters.patch or parameters.width % parameters.heads:
        raise ValueError(
            f"vit_small: {spec.size} px is not a multiple of the patch {parameters.patch}, "
            f"or width {parameters.width} none of {parameters.heads} heads"
        )
    return VisionTransformer(spec, parameters)
