"""QSGD: stochastic rounding of every coordinate to a few levels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.defenses.base import Client, Defense
from gradsiege.protocol.local_update import Tensors
from gradsiege.ranges import Count

VERSION = 1


def quantize(value: Tensor, levels: int, generator: torch.Generator) -> Tensor:
    """Return Q_s(v) = |v|_2 sign(v_i) xi_i (Alistarh et al., NeurIPS 2017, section 3.1), with E[Q_s(v)] = v.

    With l <= s |v_i| / |v|_2 < l + 1 the level xi_i is (l + 1) / s with probability s |v_i| / |v|_2 - l, and l / s
    otherwise. The expected squared error is at most min(n / s^2, sqrt(n) / s) |v|_2^2 (lemma 3.1).
    """
    length = value.norm()
    # A tensor of zeros has no direction and stays as it is.
    place = value.abs() / length.clamp_min(torch.finfo(value.dtype).tiny) * levels
    draw = torch.rand(value.shape, generator=generator)
    level = place.floor() + (draw < place - place.floor())
    quantized: Tensor = value.sign() * level * (length / levels)
    return quantized


@dataclass(frozen=True)
class Quantization(Defense):
    """Round every tensor to s levels of its own norm, at random and without bias.

    `levels` is s, the number of steps between zero and the norm of a tensor.
    """

    name = "quantization"

    levels: Count = 16

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Return the quantized update.

        Takes and returns tensors by name, each of the shape of its parameter.
        """
        return {
            name: quantize(value, self.levels, client.generator) for name, value in update.items()
        }
