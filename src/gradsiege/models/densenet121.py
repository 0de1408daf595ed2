"""DenseNet-121 (Huang et al., CVPR 2017) with a 3x3 stem of stride 1 for small images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradsiege.models.base import Model
from gradsiege.models.layers import BatchNorm2d
from gradsiege.ranges import Width

VERSION = 1
BLOCKS = (6, 12, 24, 16)


@dataclass(frozen=True)
class DenseNet121(Model):
    """The 121 layers of the paper, for images of any size.

    Attributes:
        growth: channels that every layer adds; 32 in the paper.
    """

    name = "densenet121"

    growth: Width = 32

    def network(self, classes: int, channels: int, size: int) -> nn.Module:
        """Return the network."""
        return DenseNet121Network(self, classes, channels, size)


class DenseLayer(nn.Module):
    """BN-ReLU-1x1, BN-ReLU-3x3; the output is appended to the input."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.bn1 = BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.bn2 = BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[n, c, h, w]`` to ``[n, c + growth, h, w]``."""
        out = self.conv1(F.relu(self.bn1(x)))
        return torch.cat([x, self.conv2(F.relu(self.bn2(out)))], dim=1)


class Transition(nn.Module):
    """BN-ReLU-1x1 halves the channels, average pooling halves the side."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.bn = BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, inputs // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[n, c, h, w]`` to ``[n, c / 2, h / 2, w / 2]``."""
        return F.avg_pool2d(self.conv(F.relu(self.bn(x))), 2)


class DenseNet121Network(nn.Module):
    """Four dense blocks with transitions between them, global average pooling, linear head."""

    def __init__(self, model: DenseNet121, classes: int, channels: int, size: int) -> None:
        super().__init__()
        width = 2 * model.growth
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1, bias=False)]
        for number, depth in enumerate(BLOCKS):
            for _ in range(depth):
                layers.append(DenseLayer(width, model.growth))
                width += model.growth
            if number + 1 < len(BLOCKS):
                layers.append(Transition(width))
                width //= 2
        self.features = nn.Sequential(*layers)
        self.norm = BatchNorm2d(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits.

        Takes images ``[n, c, h, w]``, returns ``[n, classes]``.
        """
        logits: Tensor = self.head(F.relu(self.norm(self.features(x))).mean((2, 3)))
        return logits
