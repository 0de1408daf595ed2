"""Laplace noise on every coordinate of the update."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.defenses.base import Client, Defense
from gradsiege.protocol.local_update import Tensors
from gradsiege.ranges import Spread

VERSION = 1


def laplace(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Return standard Laplace noise: the difference of two exponential draws, which is never infinite.

    Returns a tensor of the given shape, of mean 0 and variance 2.
    """
    first, second = (torch.empty(shape).exponential_(generator=generator) for _ in range(2))
    return first - second


@dataclass(frozen=True)
class Laplace(Defense):
    """Add Laplace(0, b) to every trainable coordinate.

    The second noise of Deep Leakage from Gradients (Zhu et al., NeurIPS 2019, section 5). The unit is the
    gradient's in every protocol, as for `gaussian`.

    `scale` is the b of the density exp(-|x| / b) / (2 b), in gradient units; the deviation is b sqrt(2).
    """

    name = "laplace"

    scale: Spread = 0.01

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Return update + b * Laplace(0, 1).

        Takes and returns tensors by name, each of the shape of its parameter.
        """
        return {
            name: value + self.scale * laplace(value.shape, client.generator)
            for name, value in update.items()
        }
