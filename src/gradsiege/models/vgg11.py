"""VGG-11 with batch norm (Simonyan and Zisserman, ICLR 2015), with one linear layer behind the convolutions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from gradsiege.models.base import Model
from gradsiege.models.layers import BatchNorm2d
from gradsiege.ranges import Width

VERSION = 1
SIDE_LEAST = 32
# Configuration A: convolutions by width in units of the first one, "pool" halves the side.
LAYOUT: tuple[int | str, ...] = (1, "pool", 2, "pool", 4, 4, "pool", 8, 8, "pool", 8, 8, "pool")


@dataclass(frozen=True)
class VGG11(Model):
    """Width of the first convolution (64 in the paper)."""

    name = "vgg11"

    width: Width = 64

    def network(self, classes: int, channels: int, size: int) -> nn.Module:
        """Return the network; images must be at least 32 px."""
        if size < 32:
            raise ValueError(f"vgg11 halves the side five times: 32 px or more, not {size}")
        return VGG11Network(self, classes, channels, size)


class VGG11Network(nn.Module):
    """Eight 3x3 convolutions, five poolings; the usual head for small images is a single linear layer."""

    def __init__(self, model: VGG11, classes: int, channels: int, size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = channels
        for item in LAYOUT:
            if isinstance(item, str):
                layers.append(nn.MaxPool2d(2))
                continue
            outputs = item * model.width
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits; images larger than 32 px are averaged to one position.

        Takes images ``[n, c, h, w]``, returns ``[n, classes]``.
        """
        logits: Tensor = self.head(self.features(x).mean((2, 3)))
        return logits
