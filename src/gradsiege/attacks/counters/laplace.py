"""Laplace noise of a known scale has a known likelihood."""

from __future__ import annotations

import math

from gradsiege.attacks.counters.attempt import Attempt
from gradsiege.attacks.counters.noise import (
    GaussianLikelihood,
    LaplaceLikelihood,
    estimated_deviation,
)

VERSION = 1
REQUIRES = ("disclosure",)


def likelihood(attempt: Attempt) -> Attempt:
    """Match by the likelihood of the disclosed noise, l1 / b, which shrugs off its large outliers.

    The mean of several rounds has nearly Gaussian noise of variance 2 b^2 over their number.
    """
    scale = float(attempt.disclosure["scale"])
    if attempt.averaged > 1:
        return attempt.by(GaussianLikelihood(scale * math.sqrt(2 / attempt.averaged)))
    return attempt.by(LaplaceLikelihood(scale))


def estimated_likelihood(attempt: Attempt) -> Attempt:
    """The same with a scale that is estimated from the updates: b is their noise's deviation over sqrt(2)."""
    return attempt.by(
        LaplaceLikelihood(float(estimated_deviation(attempt).median()) / math.sqrt(2))
    )
