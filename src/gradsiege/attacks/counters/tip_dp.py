"""TIP's comparison "DP" is white noise on every weight, whose deviation the update shows (arXiv 2602.11633)."""

from __future__ import annotations

from gradsiege.attacks.counters.noise import GaussianLikelihood, estimated_deviation
from gradsiege.attacks.counters.plan import AttackPlan

VERSION = 1
REQUIRES = ("disclosure",)


def likelihood(plan: AttackPlan) -> AttackPlan:
    """Match by the likelihood of Gaussian noise, its deviation in gradient units estimated from the updates."""
    return plan.with_distance(GaussianLikelihood(float(estimated_deviation(plan).median())))
