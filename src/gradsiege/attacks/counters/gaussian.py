"""Gaussian noise of a known deviation has a known likelihood."""

from __future__ import annotations

import math

from gradsiege.attacks.counters.attempt import Attempt
from gradsiege.attacks.counters.noise import GaussianLikelihood, estimated_deviation

VERSION = 1
REQUIRES = ("disclosure",)


def likelihood(attempt: Attempt) -> Attempt:
    """Match by the likelihood of the disclosed noise, l2 / sigma^2, so that prior and noise are weighed in one unit."""
    sigma = float(attempt.disclosure["sigma"]) / math.sqrt(attempt.averaged)
    return attempt.by(GaussianLikelihood(sigma))


def estimated_likelihood(attempt: Attempt) -> Attempt:
    """The same with a deviation that is estimated from the updates: of the disclosure only the kind of noise is used."""
    return attempt.by(GaussianLikelihood(float(estimated_deviation(attempt).median())))
