"""Intervals for rates: Wilson's, exact one-sided limits, and their widening when images share a victim or a scene."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from gradsiege.analysis.interval import Interval, check_level, unknown


def wilson_interval(successes: float, trials: float, *, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (JASA 1927), without continuity correction.

    Both arguments may be fractional (an effective sample size). No trials: NaN.

    >>> interval = wilson_interval(9, 10)
    >>> round(interval.low, 4), round(interval.high, 4)
    (0.5958, 0.9821)
    """
    from scipy.special import ndtri

    check_level(level)
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials is not possible")
    if trials == 0:
        return unknown(math.nan, level, 0, "wilson")
    z = float(ndtri(0.5 + level / 2))
    rate = successes / trials
    centre = (rate + z**2 / (2 * trials)) / (1 + z**2 / trials)
    reach = z * math.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    reach /= 1 + z**2 / trials
    low = 0.0 if successes == 0 else max(0.0, centre - reach)
    high = 1.0 if successes == trials else min(1.0, centre + reach)
    return Interval(rate, low, high, level, round(trials), "wilson")


def exact_limits(
    successes: ArrayLike, clusters: ArrayLike, *, alpha: float = 0.05
) -> tuple[float, float]:
    """Return the lower and the upper one-sided limit of a rate, each at level 1 - alpha.

    Clopper and Pearson (Biometrika 1934) at the effective sample size n / design effect (Korn and Graubard, Survey
    Methodology 1998). Exact where every image is a cluster of its own. No trials: 0 and 1.

    successes: [n] booleans; clusters: [n] ids of the sampling unit.

    >>> low, high = exact_limits([True] * 3 + [False] * 5, range(8))
    >>> round(low, 4), round(high, 4)
    (0.1111, 0.7108)
    """
    from scipy.special import betaincinv

    hits = np.asarray(successes, dtype=np.float64)
    if hits.size == 0:
        return 0.0, 1.0
    trials = hits.size / _effect(hits, clusters)[0]
    known = float(hits.mean()) * trials
    low = 0.0 if known == 0 else float(betaincinv(known, trials - known + 1, alpha))
    high = 1.0 if known == trials else float(betaincinv(known + 1, trials - known, 1 - alpha))
    return low, high


def clustered_wilson_interval(
    successes: ArrayLike, clusters: ArrayLike, *, level: float = 0.95
) -> Interval:
    """Wilson's interval at the effective sample size n / design effect.

    Images of one victim share an update, so they are not independent trials. The design
    effect (Kish 1965) is the between-cluster variance of the rate over its binomial variance,
    at least 1 and at most the mean cluster size; at a rate of 0 or 1, where it cannot be
    estimated, images of one victim count as one trial. One image per victim: plain Wilson.

    successes: [n] booleans; clusters: [n] victim ids.

    >>> once = clustered_wilson_interval([1, 0, 1, 1], [0, 1, 2, 3])
    >>> twice = clustered_wilson_interval([1, 1, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 2, 2, 3, 3])
    >>> round(once.low, 6) == round(twice.low, 6), twice.units
    (True, 4)
    """
    hits = np.asarray(successes, dtype=np.float64)
    if hits.size == 0:
        return wilson_interval(0, 0, level=level)
    effect, count = _effect(hits, clusters)
    trials = hits.size / effect
    plain = wilson_interval(float(hits.mean()) * trials, trials, level=level)
    return Interval(plain.estimate, plain.low, plain.high, level, count, "wilson")


def _effect(hits: np.ndarray, clusters: ArrayLike) -> tuple[float, int]:
    """Return the design effect of outcomes in clusters, and the number of clusters."""
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    if index.shape != hits.shape:
        raise ValueError(f"{hits.size} outcomes but {index.size} cluster ids")
    sizes = np.bincount(index)
    return _design_effect(np.bincount(index, weights=hits), sizes), len(sizes)


def _design_effect(totals: np.ndarray, sizes: np.ndarray) -> float:
    """Ultimate-cluster variance of the ratio mean over the binomial variance, in [1, mean size]."""
    images, count = float(sizes.sum()), len(sizes)
    largest = images / count
    rate = totals.sum() / images
    binomial = rate * (1 - rate) / images
    if largest == 1.0 or binomial == 0.0 or count < 2:
        return largest
    residuals = totals - rate * sizes
    between = count / (count - 1) * (residuals**2).sum() / images**2
    return float(np.clip(between / binomial, 1.0, largest))
