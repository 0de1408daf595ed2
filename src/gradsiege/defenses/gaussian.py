"""Gaussian noise on every coordinate of the update."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from gradsiege.defenses.base import Client, Defense
from gradsiege.protocol.local_update import Tensors
from gradsiege.ranges import Checked, Spread

VERSION = 1


@dataclass(frozen=True)
class Parameters(Checked):
    """`sigma` is the deviation of the noise in gradient units."""

    sigma: Spread = 0.01


class Gaussian(Defense):
    """Add N(0, sigma^2) to every trainable coordinate.

    The simplest defense of the literature (Zhu et al., NeurIPS 2019, section 5). The unit is the gradient's, in
    every protocol: an update is the sum of the local gradients, so sigma means the same for one step and for many.
    """

    name = "gaussian"

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Return update + sigma * N(0, I)."""
        sigma = self.parameters.sigma
        return {
            name: value + sigma * torch.randn(value.shape, generator=client.generator)
            for name, value in update.items()
        }

    def disclosure(self) -> dict[str, Any]:
        """The noise law is public."""
        return {"defense": self.name, **asdict(self.parameters)}


def build(parameters: Parameters, arm: str) -> Defense:
    """Return the defense."""
    return Gaussian(parameters)
