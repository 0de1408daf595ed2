"""Adam with and without the sign of the gradient, and the step schedule of Inverting Gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, ICLR 2015) on one tensor of many independent elements.

    Attributes:
        learning_rate: initial step.
        signed: feed the sign of the gradient (Geiping et al., 2020, as the authors' code does).
        decay: multiply the step by 0.1 at 3/8, 5/8 and 7/8 of the iterations.
    """

    learning_rate: float
    signed: bool
    decay: bool = True

    def rate(self, iteration: int, iterations: int) -> float:
        """Return the step size of an iteration.

        >>> [Adam(0.1, True).rate(i, 8) for i in (0, 3)]
        [0.1, 0.010000000000000002]
        """
        if not self.decay:
            return self.learning_rate
        passed = sum(iteration >= iterations * eighths / 8 for eighths in (3, 5, 7))
        return self.learning_rate * 0.1**passed

    def start(self, x: Tensor) -> dict[str, Tensor]:
        """Return the moments before the first step."""
        return {"first": torch.zeros_like(x), "second": torch.zeros_like(x)}

    def step(
        self, x: Tensor, gradient: Tensor, state: dict[str, Tensor], iteration: int, iterations: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return (next x, next moments); elements never mix."""
        if self.signed:
            gradient = gradient.sign()
        first = torch.lerp(state["first"], gradient, 1 - BETA1)
        second = torch.lerp(state["second"], gradient.square(), 1 - BETA2)
        corrected = (second / (1 - BETA2 ** (iteration + 1))).sqrt() + EPSILON
        direction = first / (1 - BETA1 ** (iteration + 1)) / corrected
        moved = x - self.rate(iteration, iterations) * direction
        return moved, {"first": first, "second": second}
