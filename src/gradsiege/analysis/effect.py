"""Paired effect sizes: how large a difference is, apart from how certain it is."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def _sample(differences: ArrayLike) -> NDArray[np.float64]:
    sample = np.asarray(differences, dtype=np.float64)
    if sample.ndim != 1 or not np.isfinite(sample).all():
        raise ValueError("effect sizes need a flat list of finite differences")
    return sample


def cohen_d_z(differences: ArrayLike) -> float:
    """Cohen's d_z: mean over standard deviation of paired differences (Cohen 1988, 2.3.5).

    differences: [n]. NaN for fewer than two; infinite when all are equal and not zero.

    >>> round(cohen_d_z([1.0, 2.0, 3.0]), 4)
    2.0
    """
    sample = _sample(differences)
    if sample.size < 2:
        return math.nan
    mean, spread = float(sample.mean()), float(sample.std(ddof=1))
    if spread == 0.0:
        return math.copysign(math.inf, mean) if mean else 0.0
    return mean / spread


def rank_biserial(differences: ArrayLike) -> float:
    """Matched-pairs rank-biserial correlation (Kerby 2014): (W+ - W-) / (W+ + W-), in [-1, 1].

    Zero differences are left out, as in Wilcoxon's test; only zeros give 0, no data NaN.

    >>> round(rank_biserial([3.0, 2.0, -1.0]), 4)
    0.6667
    """
    from scipy.stats import rankdata

    sample = _sample(differences)
    if sample.size == 0:
        return math.nan
    moved = sample[sample != 0.0]
    if moved.size == 0:
        return 0.0
    ranks = rankdata(np.abs(moved))
    return float((ranks * np.sign(moved)).sum() / ranks.sum())


def probability_of_improvement(differences: ArrayLike) -> float:
    """Share of pairs in which the treated method is ahead; a tie counts one half. In [0, 1].

    The paired form of rliable's probability of improvement (Agarwal et al. 2021).

    >>> probability_of_improvement([1.0, 2.0, 0.0, -1.0])
    0.625
    """
    sample = _sample(differences)
    if sample.size == 0:
        return math.nan
    return float(((sample > 0) + 0.5 * (sample == 0)).mean())
