"""Improved DLG: the label first, from the head's gradient, then l2 matching of the image alone (Zhao et al., 2020)."""

from __future__ import annotations

from dataclasses import dataclass

from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import squared_l2
from gradsiege.attacks.optimizers.gradient import LBFGS
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.attacks.spaces.pixels import Pixels
from gradsiege.ranges import Checked, Count, Rate

VERSION = 1
REQUIRES = ("protocol",)


@dataclass(frozen=True)
class Parameters(Checked):
    """The authors run 300 calls of 20 inner iterations with step 1: 6,000 iterations as counted here."""

    learning_rate: Rate = 1.0
    history: Count = 100


def build(parameters: Parameters, arm: str, iterations: int, knowledge: Knowledge) -> Recipe:
    """Return: minimise sum |grad(x, y) - g|^2 over x with y from the sign of the head's gradient (equation 6)."""
    space = Pixels(*knowledge.pixel_arguments(), boxed=False)
    optimizer = LBFGS(parameters.learning_rate, parameters.history)
    return Recipe((Phase(space, squared_l2, (), optimizer, iterations),))
