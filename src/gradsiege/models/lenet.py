"""The sigmoid LeNet of Deep Leakage from Gradients (Zhu et al., NeurIPS 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradsiege.models import ModelSpec
from gradsiege.ranges import Checked, PositiveSize, Width

VERSION = 1
SIDE_MULTIPLE = 4


@dataclass(frozen=True)
class Parameters(Checked):
    """Width of every convolution, and the range of the uniform initialisation."""

    channels: Width = 12
    initial_range: PositiveSize = 0.5


class LeNet(nn.Module):
    """Three 5x5 convolutions with strides 2, 2, 1 and sigmoids, then one linear layer."""

    def __init__(self, spec: ModelSpec, parameters: Parameters) -> None:
        super().__init__()
        width = parameters.channels
        self.range = parameters.initial_range
        self.features = nn.Sequential(
            nn.Conv2d(spec.channels, width, 5, stride=2, padding=2),
            nn.Sigmoid(),
            nn.Conv2d(width, width, 5, stride=2, padding=2),
            nn.Sigmoid(),
            nn.Conv2d(width, width, 5, stride=1, padding=2),
            nn.Sigmoid(),
        )
        self.head = nn.Linear(width * (spec.size // 4) ** 2, spec.classes)

    def initialize_(self, generator: torch.Generator) -> None:
        """Draw all weights and biases from U(-0.5, 0.5), as the authors do: it decides success."""
        for parameter in self.parameters():
            parameter.uniform_(-self.range, self.range, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.head(self.features(x).flatten(1))
        return logits


def build(spec: ModelSpec, parameters: Parameters) -> nn.Module:
    """Return the network."""
    return LeNet(spec, parameters)
