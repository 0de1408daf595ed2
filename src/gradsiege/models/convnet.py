"""A small convolutional network: three normalised 3x3 convolutions, two poolings, one linear layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from gradsiege.models.base import Model
from gradsiege.models.layers import BatchNorm2d
from gradsiege.ranges import Width

VERSION = 1


@dataclass(frozen=True)
class ConvNet(Model):
    """Three convolutions, each with a normalisation and a ReLU, two poolings, and a linear head.

    Attributes:
        width: channels of the first convolution, which double twice.
        norm: behind each convolution; ``group`` (at most 8 groups of channels; Wu and He, ECCV 2018) and ``none`` give every image
            its own gradient.
        pooling: ``flatten`` hands every feature to the head, whose gradient then holds more numbers than the image has pixels;
            ``global_average`` hands it the mean of each of the 4 * width channels (Lin et al., ICLR 2014, section 3.2).
    """

    name = "convnet"

    width: Width = 32
    norm: Literal["batch", "group", "none"] = "batch"
    pooling: Literal["flatten", "global_average"] = "flatten"

    def network(self, classes: int, channels: int, size: int) -> nn.Module:
        """Return the network."""
        return ConvNetNetwork(self, classes, channels, size)


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "group":
        return nn.GroupNorm(math.gcd(8, channels), channels)
    return BatchNorm2d(channels) if kind == "batch" else nn.Identity()


def _block(inputs: int, outputs: int, norm: str) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), _norm(norm, outputs), nn.ReLU()]


class ConvNetNetwork(nn.Module):
    """conv-conv-pool-conv-pool-linear; max pooling keeps strides out of the convolutions."""

    def __init__(self, model: ConvNet, classes: int, channels: int, size: int) -> None:
        super().__init__()
        width, norm = model.width, model.norm
        self.features = nn.Sequential(
            *_block(channels, width, norm),
            *_block(width, 2 * width, norm),
            nn.MaxPool2d(2),
            *_block(2 * width, 4 * width, norm),
            nn.MaxPool2d(2),
        )
        self.pooled = model.pooling == "global_average"
        positions = 1 if self.pooled else (size // 4) ** 2
        self.head = nn.Linear(4 * width * positions, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits.

        Takes images ``[n, c, h, w]``, returns ``[n, classes]``.
        """
        features = self.features(x)
        logits: Tensor = self.head(features.mean((2, 3)) if self.pooled else features.flatten(1))
        return logits
