"""Paired tests with the victim as unit, and Holm's adjustment for a family of them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradsiege.analysis.bootstrap import cluster_totals

_FLIPS_AT_ONCE = 2_000_000


def cluster_mean_differences(
    differences: ArrayLike, clusters: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return one mean difference per cluster, since tests need independent units: [n] to [c].

    >>> cluster_mean_differences([1.0, 3.0, 5.0], ["a", "a", "b"]).tolist()
    [2.0, 5.0]
    """
    sums, sizes = cluster_totals(np.asarray(differences, dtype=np.float64), clusters)
    means: NDArray[np.float64] = sums / sizes
    return means


def wilcoxon_signed_rank(differences: ArrayLike, clusters: ArrayLike | None = None) -> float:
    """Two-sided p of Wilcoxon's signed-rank test on cluster means (Biometrics 1945).

    Exact for up to 50 untied differences, otherwise normal (SciPy's "auto"). Zeros are left
    out; only zeros give 1, no data NaN.

    >>> wilcoxon_signed_rank([1.0, 2.0, 3.0, 4.0, 5.0])
    0.0625
    """
    from scipy.stats import wilcoxon

    units = cluster_mean_differences(differences, clusters)
    if units.size == 0:
        return math.nan
    moved = units[units != 0.0]
    if moved.size == 0:
        return 1.0
    return float(wilcoxon(moved).pvalue)


def sign_flip_permutation(
    differences: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    generator: np.random.Generator,
    resamples: int = 9999,
) -> float:
    """Two-sided p of the paired permutation test: signs of cluster means flipped at random.

    The statistic is the absolute mean. All 2^c flips are visited when they number no more than
    `resamples` + 1; otherwise p = (1 + hits) / (1 + resamples), which is never zero (Phipson
    and Smyth 2010).

    >>> sign_flip_permutation([1.0, 2.0, 3.0, 4.0, 5.0], generator=np.random.default_rng(0))
    0.0625
    """
    units = cluster_mean_differences(differences, clusters)
    count = units.size
    if count == 0:
        return math.nan
    exact = 2**count <= resamples + 1
    total = 2**count if exact else resamples
    bar = abs(units.sum()) * (1 - 1e-12)  # a flip that ties with the data counts as a hit
    hits = 0
    step = max(1, _FLIPS_AT_ONCE // count)
    for start in range(0, total, step):
        stop = min(start + step, total)
        if exact:
            bits = (np.arange(start, stop)[:, None] >> np.arange(count)) & 1
        else:
            bits = generator.integers(0, 2, (stop - start, count))
        hits += int((np.abs((1 - 2 * bits) @ units) >= bar).sum())
    return hits / total if exact else (1 + hits) / (1 + total)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's step-down adjusted p values (Scandinavian J. of Statistics 1979). [m] to [m].

    NaN entries (comparisons that could not be made) stay NaN and do not enlarge the family.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    raw = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(raw.shape, np.nan)
    known = np.flatnonzero(~np.isnan(raw))
    order = known[np.argsort(raw[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(raw[order] * factors))
    return adjusted
