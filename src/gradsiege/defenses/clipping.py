"""Clipping of the update to a global norm."""

from __future__ import annotations

from dataclasses import dataclass

from gradsiege.defenses.base import Client, Defense
from gradsiege.protocol.local_update import Tensors, norm
from gradsiege.ranges import PositiveSize

VERSION = 1


@dataclass(frozen=True)
class Clipping(Defense):
    """Upload u min(1, C / |u|): the direction stays, and a short update is not changed.

    The study value of GGL (Li et al., CVPR 2022), GIFD and GI-NAS is C = 4. A distance that ignores scale, such as the
    cosine, does not notice this defense. It clips the whole update, so with several local steps
    the bound holds for their sum; `dp_sgd` clips every image of every step.

    `bound` is the largest l2 norm C of an upload, over all tensors together, in gradient units.
    """

    name = "clipping"

    bound: PositiveSize = 4.0

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Return the update, no longer than C.

        Takes and returns tensors by name, each of the shape of its parameter.
        """
        factor = (self.bound / norm(update)).clamp(max=1)
        return {name: value * factor for name, value in update.items()}
