"""A recipe says what is optimised: a space, a distance, weighted regularizers, an optimizer, a number of iterations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from gradsiege.attacks.engine.optimizer import Adam
from gradsiege.attacks.engine.regularizers import Regularizer
from gradsiege.attacks.engine.spaces import Pixels
from gradsiege.protocol.local_update import Tensors
from gradsiege.protocol.observation import Observation
from gradsiege.protocol.threat_model import ThreatModel

Distance = Callable[[Tensors, Tensors], Tensor]


@dataclass(frozen=True)
class TrainedPrior:
    """A prior that the attacker trained on auxiliary images."""

    name: str
    weights: dict[str, Tensor]
    card: dict[str, object]


@dataclass(frozen=True)
class Knowledge:
    """All that an attack gets: the stripped observation, its threat model, and its prior."""

    observation: Observation
    threat: ThreatModel
    prior: TrainedPrior | None = None

    def pixels(self) -> Pixels:
        """Return the pixel space of the private images."""
        buffers = self.observation.buffers
        return Pixels(
            (self.observation.images, *self.observation.image_shape),
            buffers["normalisation.mean"],
            buffers["normalisation.deviation"],
        )


@dataclass(frozen=True)
class Stage:
    """One optimisation: ``distance(update(x), observed) + sum of weight * regularizer(x)``."""

    space: Pixels
    distance: Distance
    regularizers: tuple[tuple[float, Regularizer], ...]
    optimizer: Adam
    iterations: int


@dataclass(frozen=True)
class Recipe:
    """A list of stages; Inverting Gradients has one."""

    stages: tuple[Stage, ...]
