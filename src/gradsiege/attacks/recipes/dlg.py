"""Deep Leakage from Gradients: l2 matching of image and soft label together, L-BFGS (Zhu et al., NeurIPS 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gradsiege.attacks.base import Attack
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import squared_l2
from gradsiege.attacks.optimizers.gradient import LBFGS
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.attacks.spaces.pixels import PixelsAndLabels
from gradsiege.ranges import Range, Rate, Tuned

VERSION = 1
REQUIRES = ("protocol",)


@dataclass(frozen=True)
class Dlg(Attack):
    """The authors run 300 calls of 20 inner iterations with step 1: 6,000 iterations as counted here.

    Attributes:
        learning_rate: step of L-BFGS, along a direction that is already scaled.
        history: pairs of steps and gradients that L-BFGS remembers.
    """

    name = "dlg"
    requires = REQUIRES

    learning_rate: Annotated[Rate, Tuned(0.03, 2)] = 1.0
    history: Annotated[int, Range(1, 1000)] = 100

    def recipe(self, knowledge: Knowledge) -> Recipe:
        """Return: minimise sum |grad(x, softmax(l)) - g|^2 over x and l, without a box (equation 4).

        Pixels and label logits start at N(0, 1). The network must be twice differentiable: on ReLU networks the attack fails, as
        its users report. An element ends with its iterate of least matching loss. That is a choice of ours: the release shows the
        last one, and L-BFGS without a line search may leave what it has found. On `tune` images the choice gained up to 2.3 dB.
        """
        classes = knowledge.observation.model.classes
        space = PixelsAndLabels(*knowledge.pixel_arguments(), boxed=False, classes=classes)
        optimizer = LBFGS(self.learning_rate, self.history)
        return Recipe((Phase(space, squared_l2, (), optimizer, self.iterations),))
