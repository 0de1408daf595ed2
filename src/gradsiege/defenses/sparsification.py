"""Gradient sparsification: the smallest coordinates of every tensor are zeroed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from gradsiege.defenses.base import Client, Defense
from gradsiege.defenses.magnitudes import below_percentile, smallest
from gradsiege.protocol.local_update import Tensors
from gradsiege.ranges import Checked, Percent

VERSION = 1


@dataclass(frozen=True)
class Parameters(Checked):
    """`percent` of a tensor's coordinates, those of least magnitude, are zeroed."""

    percent: Percent = 90.0


class Sparsification(Defense):
    """Zero what lies below the percentile of magnitude, tensor by tensor; the rest is uploaded exactly.

    Gradient pruning of Deep Leakage from Gradients (Zhu et al., NeurIPS 2019, section 5) in the form of the
    ports: GIFD and GI-NAS 90, GGL 20, GI-PIP 50 to 99. `top_k` ranks all tensors together.
    """

    name = "sparsification"

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Return the update with zeros in place of the smallest coordinates."""
        sparse = {}
        for name, value in update.items():
            count = below_percentile(value.numel(), self.parameters.percent)
            sparse[name] = value.masked_fill(smallest(value.abs(), count), 0)
        return sparse

    def disclosure(self) -> dict[str, Any]:
        """The percentage is public."""
        return {"defense": self.name, **asdict(self.parameters)}


def build(parameters: Parameters, arm: str) -> Defense:
    """Return the defense."""
    return Sparsification(parameters)
