"""Top-k: only the largest coordinates of the whole update are uploaded."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from gradsiege.defenses.base import Client, Defense
from gradsiege.defenses.magnitudes import smallest
from gradsiege.protocol.local_update import Tensors
from gradsiege.ranges import Checked, PositiveShare

VERSION = 1


@dataclass(frozen=True)
class Parameters(Checked):
    """`fraction` of all coordinates, those of largest magnitude, are uploaded."""

    fraction: PositiveShare = 0.1


def kept(count: int, fraction: float) -> int:
    """Return k: the nearest whole number, at least one.

    >>> kept(1000, 0.1), kept(3, 0.1)
    (100, 1)
    """
    return max(1, round(fraction * count))


class TopK(Defense):
    """Keep the k coordinates of largest magnitude over all tensors together (Stich et al., NeurIPS 2018).

    Without error feedback: what is left out is lost, as in every study of gradient inversion. A tensor
    of small gradients may vanish whole, which the ranking by tensor of `sparsification` never does.
    """

    name = "top_k"

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Return the update with everything but its k largest coordinates zeroed."""
        magnitudes = torch.cat([value.abs().flatten() for value in update.values()])
        count = len(magnitudes) - kept(len(magnitudes), self.parameters.fraction)
        sizes = [value.numel() for value in update.values()]
        dropped = smallest(magnitudes, count).split(sizes)
        return {
            name: value.masked_fill(mask.view(value.shape), 0)
            for (name, value), mask in zip(update.items(), dropped, strict=True)
        }

    def disclosure(self) -> dict[str, Any]:
        """The fraction is public."""
        return {"defense": self.name, **asdict(self.parameters)}


def build(parameters: Parameters, arm: str) -> Defense:
    """Return the defense."""
    return TopK(parameters)
