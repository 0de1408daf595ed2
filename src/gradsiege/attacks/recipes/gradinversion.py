"""GradInversion: l2 matching, batch-norm statistics, group consistency, Langevin noise (Yin et al., CVPR 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor

from gradsiege.attacks.base import Attack
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import squared_l2
from gradsiege.attacks.objectives.regularizers import (
    Regularizer,
    batch_norm_statistics,
    l2,
    total_variation,
)
from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.recipe import GroupConsistency, Phase, Recipe
from gradsiege.protocol.local_update import Tensors
from gradsiege.protocol.threat_model import require
from gradsiege.ranges import Count, CountOrZero, Rate, Spread, Tuned, Weight

VERSION = 1
REQUIRES = ("protocol",)


@dataclass(frozen=True)
class Gradinversion(Attack):
    """Weights of the public re-implementations (the authors released no code); `group` needs restarts.

    `batch_norm` says whose statistics the candidate must have: nobody's (``off``), the global model's ``running`` ones, or
    those of the ``private`` batch, as public re-implementations take them; a threat model must grant `batch_statistics`.
    """

    name = "gradinversion"
    requires = REQUIRES

    matching: Annotated[Weight, Tuned(1e-4, 1)] = 1e-4
    total_variation: Annotated[Weight, Tuned(1e-4, 0.1)] = 1e-4
    l2: Weight = 1e-6
    batch_norm: Literal["off", "running", "private"] = "running"
    batch_norm_weight: Weight = 0.1
    group: Weight = 0.01
    group_first: CountOrZero = 500
    group_every: Count = 100
    langevin: Spread = 0.01
    learning_rate: Annotated[Rate, Tuned(0.02, 0.5)] = 0.1
    warm_up: CountOrZero = 50

    def recipe(self, knowledge: Knowledge) -> Recipe:
        """Return equations 1 to 11 with plain-mean group consistency (the paper registers the images first)."""
        seen = knowledge.observation
        regularizers: list[tuple[float, Regularizer]] = [
            (self.total_variation, total_variation),
            (self.l2, l2),
        ]
        has_batch_norm = any(name.endswith("running_mean") for name in seen.buffers)
        private = self.batch_norm == "private"
        if private:
            require(
                knowledge.threat, ("batch_statistics",), "gradinversion with batch_norm: private"
            )
        if self.batch_norm != "off" and has_batch_norm:
            term = batch_norm_statistics(knowledge.model(), seen.parameters, seen.buffers, private)
            regularizers.append((self.batch_norm_weight, term))

        def matching(candidate: Tensors, observed: Tensors) -> Tensor:
            return self.matching * squared_l2(candidate, observed)

        group = GroupConsistency(self.group, self.group_first, self.group_every)
        phase = Phase(
            space=knowledge.pixels(),
            distance=matching,
            regularizers=tuple(regularizers),
            optimizer=Adam(self.learning_rate, schedule="cosine", warm_up=self.warm_up),
            iterations=self.iterations,
            noise=self.langevin,
            group=group,
        )
        return Recipe((phase,))
