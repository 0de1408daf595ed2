"""Equivalence: two one-sided tests, which show that a mean lies between two bounds.

Schuirmann, "A comparison of the two one-sided tests procedure and the power approach" (Journal of
Pharmacokinetics and Biopharmaceutics 1987). A difference that was not found is not evidence of equivalence;
equivalence is shown when both one-sided tests reject at alpha, that is, when the interval at level
1 - 2 alpha lies between the bounds. Values are paired differences, or plain values for an absolute bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gradsiege.analysis.bootstrap import mean_interval
from gradsiege.analysis.interval import Interval, student_interval
from gradsiege.analysis.significance import cluster_mean_differences

ALPHA = 0.05


@dataclass(frozen=True)
class Equivalence:
    """The outcome of two one-sided tests against the bounds `low` < `high`.

    `interval` has level 1 - 2 alpha. `p_value` is the larger of the two one-sided p values; NaN where the
    interval alone decides (bootstrap, rates) or no test is possible.
    """

    interval: Interval
    low: float
    high: float
    p_value: float = math.nan

    @property
    def shown(self) -> bool:
        """Whether the mean is shown to lie between the bounds; never with an unknown interval."""
        return self.low < self.interval.low and self.interval.high < self.high

    def beside(self, error: float) -> Equivalence:
        """This test with bounds around a value that has a standard error of its own; its p value is left out."""
        return self if not error else Equivalence(self.interval.widened(error), self.low, self.high)


def check_bounds(low: float, high: float, alpha: float = ALPHA) -> None:
    """Refuse bounds that enclose nothing, and an alpha outside (0, 0.5)."""
    if not low < high:
        raise ValueError(f"equivalence needs bounds low < high, got {low} and {high}")
    if not 0.0 < alpha < 0.5:
        raise ValueError(f"alpha of a one-sided test must lie between 0 and 0.5, got {alpha}")


def tost_student(
    values: ArrayLike,
    low: float,
    high: float,
    clusters: ArrayLike | None = None,
    *,
    alpha: float = ALPHA,
) -> Equivalence:
    """Two one-sided t tests on one mean per cluster (the victim, or the seed).

    values: [n] finite; clusters: [n] ids, or None when every value is its own unit.

    >>> found = tost_student([0.1, -0.2, 0.3, 0.0, 0.2], -0.5, 0.5)
    >>> round(found.p_value, 4), found.shown
    (0.0041, True)
    """
    from scipy.special import stdtr

    check_bounds(low, high, alpha)
    units = cluster_mean_differences(values, clusters)
    interval = student_interval(units, level=1 - 2 * alpha)
    if len(units) < 2:
        return Equivalence(interval, low, high)
    error = float(units.std(ddof=1)) / math.sqrt(len(units))
    nearest = min(interval.estimate - low, high - interval.estimate)
    if error == 0.0:
        return Equivalence(interval, low, high, 0.0 if nearest > 0 else 1.0)
    return Equivalence(interval, low, high, float(stdtr(len(units) - 1, -nearest / error)))


def tost_bootstrap(
    values: ArrayLike,
    low: float,
    high: float,
    clusters: ArrayLike | None = None,
    *,
    generator: np.random.Generator,
    alpha: float = ALPHA,
    resamples: int = 2000,
) -> Equivalence:
    """Equivalence by the clustered BCa interval with small-sample tails (`bootstrap.mean_interval`).

    values, clusters: as in `tost_student`; the mean is that of all values. It holds its level from sixteen
    units on; with eight, alpha 0.05 is really 0.06 (see the tests). `tost` asks for both versions.

    >>> rng = np.random.default_rng(0)
    >>> tost_bootstrap([0.1, -0.2, 0.3, 0.0, 0.2], -0.5, 0.5, generator=rng).shown
    True
    """
    check_bounds(low, high, alpha)
    interval = mean_interval(
        values, clusters, generator=generator, level=1 - 2 * alpha, resamples=resamples
    )
    return Equivalence(interval, low, high)


def tost(
    values: ArrayLike,
    low: float,
    high: float,
    clusters: ArrayLike | None = None,
    *,
    generator: np.random.Generator,
    alpha: float = ALPHA,
    error: float = 0.0,
) -> bool:
    """Whether both versions show equivalence: t for few units, the bootstrap for skewed values.

    error: standard error of the value that the bounds lie around, 0 for an exact one.
    """
    student = tost_student(values, low, high, clusters, alpha=alpha)
    resampled = tost_bootstrap(values, low, high, clusters, generator=generator, alpha=alpha)
    return student.beside(error).shown and resampled.beside(error).shown
