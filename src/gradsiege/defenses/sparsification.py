"""Gradient sparsification: the smallest coordinates of every tensor are zeroed."""

from __future__ import annotations

from dataclasses import dataclass

from gradsiege.defenses.base import Client, Defense
from gradsiege.defenses.magnitudes import below_percentile, smallest
from gradsiege.protocol.local_update import Tensors
from gradsiege.ranges import Percent

VERSION = 1


@dataclass(frozen=True)
class Sparsification(Defense):
    """Zero the coordinates below the percentile of magnitude, tensor by tensor; the others are uploaded exactly.

    Gradient pruning of Deep Leakage from Gradients (Zhu et al., NeurIPS 2019, section 5) in the form of the
    ports: GIFD and GI-NAS 90, GGL 20, GI-PIP 50 to 99. `top_k` ranks all tensors together.

    `percent` of a tensor's coordinates, those of least magnitude, are zeroed.
    """

    name = "sparsification"

    percent: Percent = 90.0

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Return the update with zeros in place of the smallest coordinates.

        Takes and returns tensors by name, each of the shape of its parameter.
        """
        sparse = {}
        for name, value in update.items():
            count = below_percentile(value.numel(), self.percent)
            sparse[name] = value.masked_fill(smallest(value.abs(), count), 0)
        return sparse
