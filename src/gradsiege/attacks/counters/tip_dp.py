"""TIP's comparison "DP" is white noise on every weight, whose deviation the update shows (arXiv 2602.11633)."""

from __future__ import annotations

from gradsiege.attacks.counters.attempt import Attempt
from gradsiege.attacks.counters.noise import GaussianLikelihood, estimated_deviation

VERSION = 1
REQUIRES = ("disclosure",)


def likelihood(attempt: Attempt) -> Attempt:
    """Match by the likelihood of Gaussian noise, its deviation in gradient units estimated from the updates."""
    return attempt.by(GaussianLikelihood(float(estimated_deviation(attempt).median())))
