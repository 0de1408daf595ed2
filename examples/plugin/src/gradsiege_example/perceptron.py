"""One hidden layer: an example of a model."""

from dataclasses import dataclass

from torch import nn

from gradsiege.models.base import Model
from gradsiege.ranges import Width

VERSION = 1


@dataclass(frozen=True)
class Perceptron(Model):
    """Units of the hidden layer."""

    name = "perceptron"

    hidden: Width = 32

    def network(self, classes: int, channels: int, size: int) -> nn.Module:
        """Return: flatten, linear, sigmoid, linear."""
        first = nn.Linear(channels * size**2, self.hidden)
        return nn.Sequential(nn.Flatten(), first, nn.Sigmoid(), nn.Linear(self.hidden, classes))
