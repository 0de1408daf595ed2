"""Inverting Gradients: cosine matching with total variation, signed Adam on pixels (Geiping et al., NeurIPS 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gradsiege.attacks.base import Attack
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import cosine
from gradsiege.attacks.objectives.regularizers import total_variation
from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.ranges import Rate, Tuned, Weight

VERSION = 2
REQUIRES = ("protocol",)


@dataclass(frozen=True)
class InvertingGradients(Attack):
    """The authors' constants for one CIFAR-sized image.

    Attributes:
        total_variation: its weight beside the cosine distance.
        learning_rate: of Adam on the pixels.
        signed: Adam is fed the gradient's signs; without, the variant that later forks run.
    """

    name = "inverting_gradients"
    requires = REQUIRES

    total_variation: Annotated[Weight, Tuned(1e-4, 0.1)] = 1e-6
    learning_rate: Annotated[Rate, Tuned(0.05, 0.5)] = 0.1
    signed: bool = True

    def recipe(self, knowledge: Knowledge) -> Recipe:
        """Return: minimise 1 - cos(grad(x), g) + alpha TV(x) over the box of valid images (equation 4).

        As in the authors' code a start ends with its last iterate, whatever its loss, and starts are compared by the matching loss
        there. On `tune` images the iterate of least matching loss was never better.
        """
        phase = Phase(
            space=knowledge.pixels(),
            distance=cosine,
            regularizers=((self.total_variation, total_variation),),
            optimizer=Adam(self.learning_rate, sign="hard" if self.signed else "none"),
            iterations=self.iterations,
            iterate="last",
        )
        return Recipe((phase,))
