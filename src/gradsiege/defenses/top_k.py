"""Top-k: only the largest coordinates of the whole update are uploaded."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gradsiege.defenses.base import Client, Defense
from gradsiege.defenses.magnitudes import smallest
from gradsiege.protocol.local_update import Tensors
from gradsiege.ranges import PositiveShare

VERSION = 1


def coordinates_sent(count: int, fraction: float) -> int:
    """Return k: the nearest whole number, at least one.

    >>> coordinates_sent(1000, 0.1), coordinates_sent(3, 0.1)
    (100, 1)
    """
    return max(1, round(fraction * count))


@dataclass(frozen=True)
class TopK(Defense):
    """Keep the k coordinates of largest magnitude over all tensors together (Stich et al., NeurIPS 2018).

    There is no error feedback: the other coordinates are lost, as in every study of gradient inversion. A tensor
    of small gradients may become zero entirely, unlike with the ranking per tensor of `sparsification`.

    `fraction` of all coordinates, those of largest magnitude, are uploaded.
    """

    name = "top_k"

    fraction: PositiveShare = 0.1

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Return the update with everything but its k largest coordinates zeroed.

        Takes and returns tensors by name, each of the shape of its parameter.
        """
        magnitudes = torch.cat([value.abs().flatten() for value in update.values()])
        count = len(magnitudes) - coordinates_sent(len(magnitudes), self.fraction)
        sizes = [value.numel() for value in update.values()]
        dropped = smallest(magnitudes, count).split(sizes)
        return {
            name: value.masked_fill(mask.view(value.shape), 0)
            for (name, value), mask in zip(update.items(), dropped, strict=True)
        }
