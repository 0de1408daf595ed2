"""DenseNet-121 (Huang et al., CVPR 2017) with a 3x3 stem of stride 1 for small images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradsiege.models import ModelSpec
from gradsiege.models.layers import BatchNorm2d
from gradsiege.ranges import Checked, Width

VERSION = 1
BLOCKS = (6, 12, 24, 16)


@dataclass(frozen=True)
class Parameters(Checked):
    """Growth rate (32 in the paper); every layer adds that many channels."""

    growth: Width = 32


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


class DenseNet121(nn.Module):
    """Four dense blocks with transitions between them, global average pooling, linear head."""

    def __init__(self, spec: ModelSpec, parameters: Parameters) -> None:
        super().__init__()
        width = 2 * parameters.growth
        layers: list[nn.Module] = [nn.Conv2d(spec.channels, width, 3, padding=1, bias=False)]
        for number, depth in enumerate(BLOCKS):
            for _ in range(depth):
                layers.append(DenseLayer(width, parameters.growth))
                width += parameters.growth
            if number + 1 < len(BLOCKS):
                layers.append(Transition(width))
                width //= 2
        self.features = nn.Sequential(*layers)
        self.norm = BatchNorm2d(width)
        self.head = nn.Linear(width, spec.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.head(F.relu(self.norm(self.features(x))).mean((2, 3)))
        return logits


def build(spec: ModelSpec, parameters: Parameters) -> nn.Module:
    """Return the network."""
    return DenseNet121(spec, parameters)
