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

VERSION = 1
REQUIRES = ("protocol",)


@dataclass(frozen=True)
class ModernInvertingGradients(Attack):
    """Constants of the "modern" configuration of the `breaching` framework."""

    name = "modern_inverting_gradients"
    requires = REQUIRES

    total_variation: Annotated[Weight, Tuned(1e-3, 1)] = 0.1
    features: Weight = 0.1
    learning_rate: Annotated[Rate, Tuned(0.02, 0.5)] = 0.1
    warm_up: CountOrZero = 50

    def recipe(self, knowledge: Knowledge) -> Recipe:
        """Return: 1 - cos + TV with double opponents + squared feature difference, soft-signed Adam, cosine decay."""
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
        )
        return Recipe((phase,))
