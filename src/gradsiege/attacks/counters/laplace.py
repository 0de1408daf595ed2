"""Laplace noise of a known scale has a known likelihood."""

from __future__ import annotations

import math

from gradsiege.attacks.counters.noise import (
    GaussianLikelihood,
    LaplaceLikelihood,
    estimated_deviation,
)
from gradsiege.attacks.counters.plan import AttackPlan

VERSION = 1
REQUIRES = ("disclosure",)


def likelihood(plan: AttackPlan) -> AttackPlan:
    """Match by the likelihood of the disclosed noise, l1 / b, which is robust to its large outliers.

    The mean of several rounds has nearly Gaussian noise of variance 2 b^2 over their number.
    """
    scale = float(plan.disclosure["scale"])
    if plan.averaged > 1:
        return plan.with_distance(GaussianLikelihood(scale * math.sqrt(2 / plan.averaged)))
    return plan.with_distance(LaplaceLikelihood(scale))


def estimated_likelihood(plan: AttackPlan) -> AttackPlan:
    """Match likewise with a scale estimated from the updates: b is the deviation of their noise over sqrt(2)."""
    return plan.with_distance(
        LaplaceLikelihood(float(estimated_deviation(plan).median()) / math.sqrt(2))
    )
