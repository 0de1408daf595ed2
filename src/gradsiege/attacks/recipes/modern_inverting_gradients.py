"""Inverting Gradients as its authors' later framework runs it: patterned start, soft sign, warm-up, features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gradsiege.attacks.base import Attack
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import cosine
from gradsiege.attacks.objectives.regularizers import double_opponent_total_variation, head_features
from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.attacks.spaces.pixels import Pixels
from gradsiege.ranges import CountOrZero, Rate, Tuned, Weight

VERSION = 2
REQUIRES = ("protocol",)


@dataclass(frozen=True)
class ModernInvertingGradients(Attack):
    """Constants of the "modern" configuration of the authors' framework `breaching`: 24,000 iterations, one start.

    Attributes:
        total_variation: weight of that of pixels and of opponent colours.
        features: weight of the distance between the head's input and what the head's gradient says of it.
        learning_rate: of Adam, the largest step.
        warm_up: iterations over which the step grows to it.
    """

    name = "modern_inverting_gradients"
    requires = REQUIRES

    total_variation: Annotated[Weight, Tuned(1e-3, 1)] = 0.1
    features: Weight = 0.1
    learning_rate: Annotated[Rate, Tuned(0.02, 0.5)] = 0.1
    warm_up: CountOrZero = 50

    def recipe(self, knowledge: Knowledge) -> Recipe:
        """Return: minimise 1 - cos(grad(x), g) + a TV(x) + b mean (h(x) - dW[y] / db[y])^2 over the box of valid images.

        TV is isotropic, with double opponents; h is the head's input. Adam is fed the soft sign, and its step grows over `warm_up`
        iterations and falls as a cosine. A start ends with its iterate of the least whole objective; starts are compared by
        1 - cos alone.
        """
        seen = knowledge.observation
        features = head_features(knowledge.model(), knowledge.head, seen.parameters, seen.buffers)
        phase = Phase(
            space=Pixels(*knowledge.pixel_arguments(), begin="patterned"),
            distance=cosine,
            regularizers=(
                (self.total_variation, double_opponent_total_variation),
                (self.features, features),
            ),
            optimizer=Adam(
                self.learning_rate, sign="soft", schedule="cosine", warm_up=self.warm_up
            ),
            iterations=self.iterations,
            iterate="least_objective",
        )
        return Recipe((phase,))
