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
    half_mean_square,
    total_variation,
)
from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.recipe import GroupConsistency, Phase, Recipe
from gradsiege.protocol.local_update import Tensors
from gradsiege.protocol.threat_model import require
from gradsiege.ranges import Count, CountOrZero, Rate, Spread, Tuned, Weight

VERSION = 2
REQUIRES = ("protocol",)


@dataclass(frozen=True)
class Gradinversion(Attack):
    """Constants of the framework `breaching`; the authors released no code, and their paper leaves some constants out.

    The framework has no group term: that of GIAS' code stands here. It acts with several restarts only. With one, which is the
    default here as in the framework, this attack is GradInversion without group consistency.

    Attributes:
        matching: weight of half the squared distance of the updates.
        total_variation: its weight.
        l2: weight of half the mean square of the normalised images.
        batch_norm: whose statistics the candidate must have: nobody's (``off``), the global model's ``running`` ones, or those of
            the ``private`` batch, as GIAS' code takes them; a threat model must grant `batch_statistics`.
        batch_norm_weight: weight of the distance to these statistics.
        group: weight of a restart's distance from the mean of all.
        group_first: iteration at which a victim's restarts are first averaged; in shorter runs it is half of the iterations.
        group_every: iterations from one average to the next.
        langevin: deviation of the noise on the gradient, in units of the step size; the framework finds the paper's 0.2 too large.
        learning_rate: of Adam, the largest step.
        warm_up: iterations over which the step grows to it.
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
        """Return: minimise a |grad(x) - g|^2 / 2 + TV, l2, batch-norm and group terms over the box of valid images.

        These are the terms of equations 2 to 11, as the framework weighs them. Adam is fed the gradient with Langevin noise; its
        step grows over `warm_up` iterations and falls as a cosine. The group's mean is the plain one (the paper registers the
        images first). An element ends with its iterate of least matching loss.
        """
        seen = knowledge.observation
        regularizers: list[tuple[float, Regularizer]] = [
            (self.total_variation, total_variation),
            (self.l2, half_mean_square),
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
            return self.matching / 2 * squared_l2(candidate, observed)

        group = None
        if self.restarts > 1 and self.group:
            first = min(self.group_first, self.iterations // 2)
            group = GroupConsistency(self.group, first, self.group_every)
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
