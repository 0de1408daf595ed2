"""A multilayer perceptron on flattened images, the network of exact inversions of linear layers (SPEAR, NeurIPS 2024)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from gradsiege.models.base import Model
from gradsiege.ranges import Range, Width

VERSION = 1


@dataclass(frozen=True)
class MLP(Model):
    """Hidden linear layers with biases and ReLUs, and a linear head.

    Attributes:
        width: units of every hidden layer.
        depth: number of hidden layers.
    """

    name = "mlp"

    width: Width = 200
    depth: Annotated[int, Range(1, 16)] = 2

    def network(self, classes: int, channels: int, size: int) -> nn.Module:
        """Return the network."""
        return MLPNetwork(self, classes, channels, size)


class MLPNetwork(nn.Module):
    """Linear layers with ReLUs, then the head."""

    def __init__(self, model: MLP, classes: int, channels: int, size: int) -> None:
        super().__init__()
        widths = [channels * size**2, *[model.width] * model.depth]
        hidden: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            hidden += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.hidden = nn.Sequential(*hidden)
        self.head = nn.Linear(model.width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits.

        Takes images ``[n, c, h, w]``, returns ``[n, classes]``.
        """
        logits: Tensor = self.head(self.hidden(x.flatten(1)))
        return logits
