"""A small convolutional network: three 3x3 convolutions with batch norm, two poolings, one linear layer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from gradsiege.models import ModelSpec
from gradsiege.models.layers import BatchNorm2d

VERSION = 1


@dataclass(frozen=True)
class Parameters:
    """Width of the first convolution; it doubles twice."""

    width: int = 32


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), BatchNorm2d(outputs), nn.ReLU()]


class ConvNet(nn.Module):
    """conv-conv-pool-conv-pool-linear; max pooling keeps strides out of the convolutions."""

    def __init__(self, spec: ModelSpec, parameters: Parameters) -> None:
        super().__init__()
        width = parameters.width
        self.features = nn.Sequential(
            *_block(spec.channels, width),
            *_block(width, 2 * width),
            nn.MaxPool2d(2),
            *_block(2 * width, 4 * width),
            nn.MaxPool2d(2),
        )
        self.head = nn.Linear(4 * width * (spec.size // 4) ** 2, spec.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.head(self.features(x).flatten(1))
        return logits


def build(spec: ModelSpec, parameters: Parameters) -> nn.Module:
    """Return the network."""
    return ConvNet(spec, parameters)
