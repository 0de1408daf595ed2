"""VGG-11 with batch norm (Simonyan and Zisserman, ICLR 2015), with one linear layer behind the convolutions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from gradsiege.models.base import Model
from gradsiege.models.vgg import VGGNetwork
from gradsiege.ranges import Width

VERSION = 1
SIDE_LEAST = 32
# Configuration A, with five poolings.
LAYOUT: tuple[int | str, ...] = (1, "pool", 2, "pool", 4, 4, "pool", 8, 8, "pool", 8, 8, "pool")


@dataclass(frozen=True)
class VGG11(Model):
    """Eight convolutions and five poolings.

    Attributes:
        width: channels of the first convolution; 64 in the paper.
    """

    name = "vgg11"

    width: Width = 64

    def network(self, classes: int, channels: int, size: int) -> nn.Module:
        """Return the network; images must be at least 32 px."""
        if size < SIDE_LEAST:
            raise ValueError(f"vgg11 halves the side five times: 32 px or more, not {size}")
        return VGGNetwork(LAYOUT, channels, self.width, classes, batch_norm=True)
