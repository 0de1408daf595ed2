"""Gaussian noise of a known deviation has a known likelihood."""

from __future__ import annotations

import math

from gradsiege.attacks.counters.noise import GaussianLikelihood, estimated_deviation
from gradsiege.attacks.counters.plan import AttackPlan

VERSION = 1
REQUIRES = ("disclosure",)


def likelihood(plan: AttackPlan) -> AttackPlan:
    """Match by the likelihood of the disclosed noise, l2 / sigma^2, so that prior and noise have one unit."""
    sigma = float(plan.disclosure["sigma"]) / math.sqrt(plan.averaged)
    return plan.with_distance(GaussianLikelihood(sigma))


def estimated_likelihood(plan: AttackPlan) -> AttackPlan:
    """Match likewise with a deviation estimated from the updates; of the disclosure only the kind of noise is used."""
    return plan.with_distance(GaussianLikelihood(float(estimated_deviation(plan).median())))
