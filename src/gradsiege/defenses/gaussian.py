"""Gaussian noise on every coordinate of the update."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gradsiege.defenses.base import Client, Defense
from gradsiege.protocol.local_update import Tensors
from gradsiege.ranges import Spread

VERSION = 1


@dataclass(frozen=True)
class Gaussian(Defense):
    """Add N(0, sigma^2) to every trainable coordinate.

    The simplest defense of the literature (Zhu et al., NeurIPS 2019, section 5). The unit is the gradient's, in
    every protocol: an update is the sum of the local gradients, so sigma means the same for one step and for many.

    `sigma` is the deviation of the noise in gradient units.
    """

    name = "gaussian"

    sigma: Spread = 0.01

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Return update + sigma * N(0, I).

        Takes and returns tensors by name, each of the shape of its parameter.
        """
        return {
            name: value + self.sigma * torch.randn(value.shape, generator=client.generator)
            for name, value in update.items()
        }
