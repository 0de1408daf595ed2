"""Improved DLG: the label first, from the head's gradient, then l2 matching of the image alone (Zhao et al., 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gradsiege.attacks.base import Attack
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import squared_l2
from gradsiege.attacks.optimizers.gradient import LBFGS
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.attacks.spaces.pixels import Pixels
from gradsiege.ranges import Range, Rate, Tuned

VERSION = 1
REQUIRES = ("protocol",)


@dataclass(frozen=True)
class Idlg(Attack):
    """The authors run 300 calls of 20 inner iterations with step 1: 6,000 iterations as counted here.

    Attributes:
        learning_rate: step of L-BFGS, along a direction that is already scaled.
        history: pairs of steps and gradients that L-BFGS remembers.
    """

    name = "idlg"
    requires = REQUIRES

    learning_rate: Annotated[Rate, Tuned(0.03, 2)] = 1.0
    history: Annotated[int, Range(1, 1000)] = 100

    def recipe(self, knowledge: Knowledge) -> Recipe:
        """Return: minimise sum |grad(x, y) - g|^2 over x with y from the sign of the head's gradient (equation 6).

        For one image all rules of `label_rule` that suit the network give this y, and the release's own is ``row_sum``. Pixels start at
        N(0, 1), without a box. As in `dlg` an element ends with its iterate of least matching loss.
        """
        space = Pixels(*knowledge.pixel_arguments(), boxed=False)
        optimizer = LBFGS(self.learning_rate, self.history)
        return Recipe((Phase(space, squared_l2, (), optimizer, self.iterations),))
