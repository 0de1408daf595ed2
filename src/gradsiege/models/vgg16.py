"""VGG-16 without batch norm (Simonyan and Zisserman, ICLR 2015), from scratch or with ImageNet's convolutions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from gradsiege import pretrained
from gradsiege.models.base import Model
from gradsiege.models.vgg import VGGNetwork
from gradsiege.ranges import Width

VERSION = 1
SIDE_LEAST = 32
PUBLISHED_WIDTH = 64
# Configuration D.
LAYOUT: tuple[int | str, ...] = (
    *(1, 1, "pool", 2, 2, "pool", 4, 4, 4, "pool", 8, 8, 8, "pool", 8, 8, 8, "pool"),
)


@dataclass(frozen=True)
class VGG16(Model):
    """`width`: of the first convolution (64 in the paper); `pretrained`: whether training begins from ImageNet's convolutions.

    Then only the head is drawn. The weights come from the same package or file as those of LPIPS.
    """

    name = "vgg16"

    width: Width = 64
    pretrained: bool = False

    def network(self, classes: int, channels: int, size: int) -> nn.Module:
        """Return the network; images must be at least 32 px, and the published convolutions have their own width."""
        if size < SIDE_LEAST:
            raise ValueError(f"vgg16 halves the side five times: 32 px or more, not {size}")
        if self.pretrained and self.width != PUBLISHED_WIDTH:
            raise ValueError(
                f"vgg16: pretrained convolutions have the width {PUBLISHED_WIDTH}, not {self.width}; "
                "leave out width, or pretrained"
            )
        return VGG16Network(self, classes, channels)


class VGG16Network(VGGNetwork):
    """Thirteen convolutions and five poolings, which may begin as ImageNet's."""

    def __init__(self, model: VGG16, classes: int, channels: int) -> None:
        super().__init__(LAYOUT, channels, model.width, classes, batch_norm=False)
        self.pretrained = model.pretrained

    def initialize_(self, generator: torch.Generator) -> None:
        """Draw the convolutions as He et al. (ICCV 2015) do for ReLUs: thirteen in a row lose the signal otherwise."""
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
                nn.init.zeros_(module.get_parameter("bias"))

    @torch.no_grad()
    def begin_(self) -> None:
        """Load ImageNet's convolutions; for grey images, sum the first one over its colours.

        Raises:
            MissingError, ArtifactError: see `gradsiege.pretrained.convolutions`.
        """
        if not self.pretrained:
            return
        published = pretrained.convolutions("vgg").tensors
        for name, value in self.features.named_parameters():
            grey = name == "0.weight" and value.shape[1] == 1
            value.copy_(published[name].sum(1, keepdim=True) if grey else published[name])
