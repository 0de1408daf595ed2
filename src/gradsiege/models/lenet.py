"""The sigmoid LeNet of Deep Leakage from Gradients (Zhu et al., NeurIPS 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradsiege.models.base import Model
from gradsiege.ranges import PositiveSize, Width

VERSION = 1
SIDE_MULTIPLE = 4


@dataclass(frozen=True)
class LeNet(Model):
    """DLG's network.

    Attributes:
        channels: of every convolution.
        initial_range: weights and biases are drawn uniformly from [-initial_range, initial_range].
    """

    name = "lenet"

    channels: Width = 12
    initial_range: PositiveSize = 0.5

    def network(self, classes: int, channels: int, size: int) -> nn.Module:
        """Return the network."""
        return LeNetNetwork(self, classes, channels, size)


class LeNetNetwork(nn.Module):
    """Three 5x5 convolutions with strides 2, 2, 1 and sigmoids, then one linear layer."""

    def __init__(self, model: LeNet, classes: int, channels: int, size: int) -> None:
        super().__init__()
        width = model.channels
        self.range = model.initial_range
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 5, stride=2, padding=2),
            nn.Sigmoid(),
            nn.Conv2d(width, width, 5, stride=2, padding=2),
            nn.Sigmoid(),
            nn.Conv2d(width, width, 5, stride=1, padding=2),
            nn.Sigmoid(),
        )
        self.head = nn.Linear(width * (size // 4) ** 2, classes)

    def initialize_(self, generator: torch.Generator) -> None:
        """Draw all weights and biases from U(-0.5, 0.5), as the authors do: it decides success."""
        for parameter in self.parameters():
            parameter.uniform_(-self.range, self.range, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits.

        Takes images ``[n, c, h, w]``, returns ``[n, classes]``.
        """
        logits: Tensor = self.head(self.features(x).flatten(1))
        return logits
