"""Sign: one bit for each coordinate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gradsiege.defenses.base import Client, Defense
from gradsiege.protocol.local_update import Tensors

VERSION = 1


@dataclass(frozen=True)
class Sign(Defense):
    """Upload the sign of every coordinate, times one number per tensor.

    ``one`` is signSGD (Bernstein et al., ICML 2018, algorithm 1), whose step is the learning rate itself and should be
    small. ``mean_magnitude`` is |u|_1 / d * sign(u) (Karimireddy et al., ICML 2019, algorithm 1, without error
    feedback): in gradient units, so that one learning rate serves all defenses. An exact zero stays zero.

    `scale` of a tensor's signs: the ``mean_magnitude`` of its coordinates, or ``one``.
    """

    name = "sign"

    scale: Literal["mean_magnitude", "one"] = "mean_magnitude"

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Return the scaled signs.

        Takes and returns tensors by name, each of the shape of its parameter.
        """
        if self.scale == "one":
            return {name: value.sign() for name, value in update.items()}
        return {name: value.sign() * value.abs().mean() for name, value in update.items()}
