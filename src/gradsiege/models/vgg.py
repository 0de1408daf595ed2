"""Convolutions of VGG networks (Simonyan and Zisserman, ICLR 2015), and a single linear layer instead of the paper's three."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from gradsiege.models.layers import BatchNorm2d


class VGGNetwork(nn.Module):
    """Convolutions of 3x3 pixels with ReLUs, some followed by a pooling of 2x2, and a linear head on their means over positions."""

    def __init__(
        self,
        layout: Sequence[int | str],
        channels: int,
        width: int,
        classes: int,
        *,
        batch_norm: bool,
    ) -> None:
        """Build the layers; `layout` has the width of every convolution in units of `width`, and "pool" where the side is halved."""
        super().__init__()
        layers: list[nn.Module] = []
        inputs = channels
        for item in layout:
            if isinstance(item, str):
                layers.append(nn.MaxPool2d(2))
                continue
            outputs = item * width
            layers.append(nn.Conv2d(inputs, outputs, 3, padding=1))
            layers += [BatchNorm2d(outputs)] if batch_norm else []
            layers.append(nn.ReLU())
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``[n, classes]`` of images ``[n, c, h, w]``; images larger than 32 px are averaged to one position."""
        logits: Tensor = self.head(self.features(x).mean((2, 3)))
        return logits
