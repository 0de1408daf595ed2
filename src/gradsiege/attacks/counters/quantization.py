"""A stochastically rounded coordinate reveals the two levels around the true one (QSGD, Alistarh et al., 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.arithmetic import square_root
from gradsiege.attacks.counters.noise import coordinates
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.counters.views import smallest_received
from gradsiege.protocol.local_update import Tensors

VERSION = 1
REQUIRES = ("disclosure",)
BY_NAME = ("likelihood",)
# Below this probability the logarithm is replaced by its tangent, so that a candidate far outside a cell still has a gradient.
LEAST = 0.05
IMPROBABLE = 1e-3
TINY = 1e-12


def rounding_likelihood(
    value: Tensor, received: Tensor, step: Tensor, least: float = LEAST
) -> Tensor:
    """Return -log p(received | value), summed: rounding to an adjacent level has the probability 1 - distance / step.

    >>> step, level = torch.tensor(2.0), torch.tensor([4.0])
    >>> [round(float(rounding_likelihood(torch.tensor([v]), level, step)), 4) for v in (4.0, 3.0, 6.0)]
    [0.0, 0.6931, 3.9957]
    """
    probability = 1 - ((value - received) / step).abs()
    inside = -probability.clamp(min=least).log()
    return (inside + (least - probability).clamp(min=0) / least).sum()


def step_of(received: Tensor, levels: int) -> Tensor:
    """Return the step between two levels of a tensor, the true tensor's norm over their number; infinite if all are zero.

    Every magnitude is a whole number of steps. In a large tensor the smallest is one step; in a small tensor the number
    follows from its norm, which rounding hardly changes.

    >>> step_of(torch.tensor([3.0, -4.0, 0.0]), 10)
    tensor(0.5000)
    """
    smallest = smallest_received(received)
    length = received.norm().clamp_min(torch.finfo(received.dtype).tiny)
    steps = (smallest * levels / length).round().clamp(min=1)
    return torch.where(torch.isfinite(smallest), smallest / steps, smallest)


@dataclass(frozen=True)
class CellDistance:
    """-log p(observed | candidate) under stochastic rounding, in nats per coordinate.

    A tensor of zeros has no step and is skipped.
    """

    levels: int

    def __call__(self, candidate: Tensors, observed: Tensors) -> Tensor:
        """Return the mean over all coordinates."""
        total = []
        for name, received in observed.items():
            step = step_of(received, self.levels)
            known = torch.isfinite(step)
            likelihood = rounding_likelihood(candidate[name], received, torch.where(known, step, 1))
            total.append(torch.where(known, likelihood, 0))
        return torch.stack(total).sum() / coordinates(observed)


@dataclass(frozen=True)
class LevelLikelihood:
    """-log p(observed levels | candidate) of QSGD in nats per coordinate, for every tensor.

    A tensor of nothing but zeros shows no step; the candidate's own length over the number of levels stands for it: each
    zero then has the probability 1 - s |c_i| / |c|.
    """

    levels: int

    def __call__(self, candidate: Tensors, observed: Tensors) -> Tensor:
        """Return the mean over all coordinates."""
        parts = []
        for name, received in observed.items():
            step = step_of(received, self.levels)
            candidate_step = square_root(candidate[name].square().sum() + TINY**2) / self.levels
            step = torch.where(torch.isfinite(step), step, candidate_step)
            parts.append(rounding_likelihood(candidate[name], received, step, IMPROBABLE))
        return torch.stack(parts).sum() / coordinates(observed)


def dequantized(plan: AttackPlan) -> AttackPlan:
    """Match by the likelihood of stochastic rounding; the levels are unbiased estimates, but far from Gaussian ones."""
    return plan.with_distance(CellDistance(int(plan.disclosure["levels"])))


def likelihood(plan: AttackPlan) -> AttackPlan:
    """Match by the likelihood of the levels, tensors of nothing but zeros included, down to improbable ones.

    `dequantized` leaves those tensors out, and follows the tangent already below a probability of 0.05.
    """
    return plan.with_distance(LevelLikelihood(int(plan.disclosure["levels"])))
