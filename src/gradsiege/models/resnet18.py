"""ResNet-18 (He et al., CVPR 2016) with the CIFAR stem: a 3x3 convolution of stride 1 and no pooling."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from gradsiege.models.base import Model
from gradsiege.models.layers import BatchNorm2d
from gradsiege.ranges import Width

VERSION = 1


@dataclass(frozen=True)
class ResNet18(Model):
    """Four stages of two blocks, with the first convolution for small images.

    Attributes:
        width: channels of the first stage, which double in each further one; 64 in the paper.
    """

    name = "resnet18"

    width: Width = 64

    def network(self, classes: int, channels: int, size: int) -> nn.Module:
        """Return the network."""
        return ResNet18Network(self, classes, channels, size)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (1x1 where the shape changes), no in-place operation."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[n, inputs, h, w]`` to ``[n, outputs, h / stride, w / stride]``."""
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet18Network(nn.Module):
    """Stem, four stages of two blocks, global average pooling, linear head (11,173,962 parameters at 10 classes)."""

    def __init__(self, model: ResNet18, classes: int, channels: int, size: int) -> None:
        super().__init__()
        width = model.width
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False), BatchNorm2d(width), nn.ReLU()
        )
        blocks: list[nn.Module] = []
        inputs = width
        for stage in range(4):
            outputs = width * 2**stage
            blocks.append(BasicBlock(inputs, outputs, stride=1 if stage == 0 else 2))
            blocks.append(BasicBlock(outputs, outputs, stride=1))
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits.

        Takes images ``[n, c, h, w]``, returns ``[n, classes]``.
        """
        features = self.blocks(self.stem(x)).mean((2, 3))
        logits: Tensor = self.head(features)
        return logits
