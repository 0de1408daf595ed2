"""Halve the update: an example of a defense."""

from dataclasses import dataclass

from gradsiege.defenses.base import Client, Defense
from gradsiege.protocol.local_update import Tensors
from gradsiege.ranges import Share

VERSION = 1


@dataclass(frozen=True)
class Half(Defense):
    """Scale the update; `factor` multiplies every coordinate."""

    name = "half"

    factor: Share = 0.5

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Return factor * update."""
        return {name: self.factor * value for name, value in update.items()}
