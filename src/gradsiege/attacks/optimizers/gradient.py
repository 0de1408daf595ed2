"""Optimizers over many independent elements at once: Adam in its variants, and L-BFGS."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from gradsiege.arithmetic import square_root
from gradsiege.attacks.optimizers.schedules import ramps
from gradsiege.attacks.variables import Variables, flatten, unflatten

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
Schedule = Literal["constant", "steps", "cosine", "ramps"]
Sign = Literal["none", "hard", "soft"]


class Optimizer(Protocol):
    """Moves every element by its own gradient; elements never mix."""

    def rate(self, iteration: int, iterations: int) -> float:
        """Return the step size of an iteration."""

    def start(self, x: Variables) -> Variables:
        """Return the optimizer's memory before the first step."""

    def step(
        self, x: Variables, gradient: Variables, memory: Variables, iteration: int, iterations: int
    ) -> tuple[Variables, Variables]:
        """Return (next x, next memory)."""


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, ICLR 2015).

    Attributes:
        learning_rate: initial step.
        sign: feed the gradient's sign (``hard``; Geiping et al., 2020, as the authors' code does) or the soft sign
            tanh(s g) / s with s = 1 - t/T (``soft``, as in their later framework `breaching`): it bounds a coordinate by 1 at
            first and lets the gradient through unchanged in the end.
        schedule: ``steps`` multiplies by 0.1 at 3/8, 5/8 and 7/8; ``cosine`` falls to zero; ``ramps``
            is GIFD's.
        warm_up: iterations over which the step grows from zero.
    """

    learning_rate: float
    sign: Sign = "none"
    schedule: Schedule = "steps"
    warm_up: int = 0

    def rate(self, iteration: int, iterations: int) -> float:
        """Return the step size of an iteration.

        >>> [Adam(0.1).rate(i, 8) for i in (0, 3)]
        [0.1, 0.010000000000000002]
        >>> [round(Adam(1.0, schedule="cosine", warm_up=2).rate(i, 8), 3) for i in (0, 1, 4, 8)]
        [0.5, 0.962, 0.5, 0.0]
        """
        rate = self.learning_rate
        if self.warm_up:
            rate *= min(1.0, (iteration + 1) / self.warm_up)
        if self.schedule == "steps":
            rate *= 0.1 ** sum(iteration >= iterations * eighths / 8 for eighths in (3, 5, 7))
        elif self.schedule == "cosine":
            rate *= (1 + math.cos(math.pi * iteration / iterations)) / 2
        elif self.schedule == "ramps":
            rate *= ramps(iteration / iterations)
        return rate

    def start(self, x: Variables) -> Variables:
        """Return zero moments."""
        zeros = {f"first.{name}": torch.zeros_like(value) for name, value in x.items()}
        return zeros | {f"second.{name}": torch.zeros_like(value) for name, value in x.items()}

    def step(
        self, x: Variables, gradient: Variables, memory: Variables, iteration: int, iterations: int
    ) -> tuple[Variables, Variables]:
        """Take one bias-corrected step."""
        rate = self.rate(iteration, iterations)
        moved: Variables = {}
        after: Variables = {}
        for name, value in x.items():
            signal = _signed(gradient[name], self.sign, 1 - iteration / iterations)
            first = torch.lerp(memory[f"first.{name}"], signal, 1 - BETA1)
            second = torch.lerp(memory[f"second.{name}"], signal.square(), 1 - BETA2)
            corrected = square_root(second / (1 - BETA2 ** (iteration + 1))) + EPSILON
            moved[name] = value - rate * first / (1 - BETA1 ** (iteration + 1)) / corrected
            after[f"first.{name}"], after[f"second.{name}"] = first, second
        return moved, after


def _signed(gradient: Tensor, sign: Sign, remaining: float) -> Tensor:
    """Return what Adam is fed; `remaining` is the share of the iterations that is left, in (0, 1]."""
    if sign == "hard":
        return gradient.sign()
    if sign == "soft":
        return torch.tanh(remaining * gradient) / remaining
    return gradient


@dataclass(frozen=True)
class LBFGS:
    """Limited-memory BFGS without line search (Nocedal and Wright, algorithm 7.5), vectorised over elements.

    One `step` is one inner iteration of `torch.optim.LBFGS` at its defaults: the first direction is scaled
    by min(1, 1 / |g|_1), pairs with y^T s <= 1e-10 are not stored. An element whose step is not finite
    stays where it is.

    Attributes:
        learning_rate: step length, 1 in the papers.
        history: stored pairs.
    """

    learning_rate: float = 1.0
    history: int = 20

    def rate(self, iteration: int, iterations: int) -> float:
        """Return the constant step length."""
        return self.learning_rate

    def start(self, x: Variables) -> Variables:
        """Return an empty memory; stored pairs lie in rings ``[n, history, d]``."""
        rows = flatten(x)
        n, d = rows.shape
        return {
            "s": rows.new_zeros(n, self.history, d),
            "y": rows.new_zeros(n, self.history, d),
            "rho": rows.new_zeros(n, self.history),
            "scale": rows.new_ones(n),
            "gradient": rows.new_zeros(n, d),
            "moved": rows.new_zeros(n, d),
        }

    def step(
        self, x: Variables, gradient: Variables, memory: Variables, iteration: int, iterations: int
    ) -> tuple[Variables, Variables]:
        """Store the last pair, then move along the quasi-Newton direction."""
        rows, slope = flatten(x), flatten(gradient)
        memory = dict(memory)
        if iteration > 0:
            memory = self._remember(memory, slope)
        direction = -self._inverse_hessian(memory, slope)
        rate: Tensor | float = self.learning_rate
        if iteration == 0:
            rate = self.learning_rate * (1 / slope.abs().sum(1)).clamp(max=1)[:, None]
        moved = torch.nan_to_num(rate * direction, 0.0, 0.0, 0.0)
        memory |= {"gradient": slope, "moved": moved}
        return unflatten(rows + moved, x), memory

    def _remember(self, memory: Variables, slope: Tensor) -> Variables:
        y, s = slope - memory["gradient"], memory["moved"]
        product = (y * s).sum(1)
        useful = product > 1e-10
        keep = useful[:, None, None]
        pairs = {
            name: torch.where(keep, torch.cat([memory[name][:, 1:], new[:, None]], 1), memory[name])
            for name, new in (("s", s), ("y", y))
        }
        inverse = torch.where(useful, 1 / product, torch.zeros_like(product))
        rho = torch.cat([memory["rho"][:, 1:], inverse[:, None]], 1)
        return {
            **memory,
            **pairs,
            "rho": torch.where(useful[:, None], rho, memory["rho"]),
            "scale": torch.where(useful, product / y.square().sum(1), memory["scale"]),
        }

    def _inverse_hessian(self, memory: Variables, slope: Tensor) -> Tensor:
        """Two-loop recursion; empty places have rho = 0 and change nothing."""
        s, y, rho = memory["s"], memory["y"], memory["rho"]
        q, alphas = slope, []
        for place in reversed(range(self.history)):
            alpha = rho[:, place] * (s[:, place] * q).sum(1)
            q = q - alpha[:, None] * y[:, place]
            alphas.append(alpha)
        r = q * memory["scale"][:, None]
        for place, alpha in zip(range(self.history), reversed(alphas), strict=True):
            beta = rho[:, place] * (y[:, place] * r).sum(1)
            r = r + (alpha - beta)[:, None] * s[:, place]
        return r
