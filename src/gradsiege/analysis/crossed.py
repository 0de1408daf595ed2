"""Intervals of a mean whose values have two crossed groupings: victims of scenes, and seeds of a training.

Owen, "The pigeonhole bootstrap" (Annals of Applied Statistics 2007): rows and columns are resampled independently, and a
value counts as often as both its row and its column were drawn. Its variance is that of the mean or larger.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from gradsiege.analysis.bootstrap import Floats, Method, mean_interval
from gradsiege.analysis.clusters import factors
from gradsiege.analysis.interval import Interval, check_level, unknown


def grouped_interval(
    values: ArrayLike,
    table: pd.DataFrame,
    *,
    generator: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
    method: Method = "bca",
) -> Interval:
    """Return the interval of the mean of values, by the groups of the rows that they stand in.

    values: [n] finite, in the order of the rows of `table`, which has `victim` and may have `scene` and `seed`. One grouping:
    `bootstrap.mean_interval` over it. Scenes and victims that cross, or several seeds: `crossed_interval`.
    """
    if not len(table):
        return unknown(math.nan, level, 0, method)
    groups = factors(table)
    seeds = table["seed"].to_numpy() if "seed" in table else np.zeros(len(table))
    if len(groups) == 1 and len(np.unique(seeds)) > 1:
        groups = (*groups, seeds)
    if len(groups) == 1:
        return mean_interval(
            values, groups[0], generator=generator, level=level, resamples=resamples, method=method
        )
    return crossed_interval(values, *groups, generator=generator, level=level, resamples=resamples)


def crossed_interval(
    values: ArrayLike,
    rows: ArrayLike,
    columns: ArrayLike,
    *,
    generator: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """Pigeonhole bootstrap interval of a mean, with tails as wide as Student's t.

    values: [n] finite; rows, columns: [n] ids of the two groupings. Degrees of freedom after Satterthwaite (Biometrics 1946),
    from the variance that each grouping alone gives. `units` is the smaller number of groups; one group gives no interval.

    >>> scene, seed = np.repeat(np.arange(6), 3), np.tile(np.arange(3), 6)
    >>> found = crossed_interval(scene + 0.1 * seed, scene, seed, generator=np.random.default_rng(0))
    >>> round(found.estimate, 3), found.units, bool(found.low < 2.6 < found.high)
    (2.6, 3, True)
    """
    check_level(level)
    sums, sizes = _grid(np.asarray(values, dtype=np.float64), rows, columns)
    count = min(sums.shape)
    estimate = float(sums.sum() / sizes.sum())
    if count < 2:
        return unknown(estimate, level, count, "pigeonhole")
    parts = [_variance(sums.sum(axis), sizes.sum(axis)) for axis in (1, 0)]
    if sum(parts) == 0.0:
        return Interval(estimate, estimate, estimate, level, count, "pigeonhole")
    tails = _tails(level, parts, sums.shape)
    low, high = np.quantile(_replicates(sums, sizes, resamples, generator), tails)
    return Interval(estimate, float(low), float(high), level, count, "pigeonhole")


def _grid(values: Floats, rows: ArrayLike, columns: ArrayLike) -> tuple[Floats, Floats]:
    """Return the sum and the number of values by row and column: two arrays [rows, columns]."""
    _, across = np.unique(np.asarray(rows), return_inverse=True)
    _, down = np.unique(np.asarray(columns), return_inverse=True)
    if not values.shape == across.shape == down.shape:
        raise ValueError(f"{values.size} values, but {across.size} row and {down.size} column ids")
    if not np.isfinite(values).all():
        raise ValueError("bootstrap needs finite values; count failures and cap infinities first")
    shape = (across.max(initial=0) + 1, down.max(initial=0) + 1)
    sums, sizes = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (across, down), values)
    np.add.at(sizes, (across, down), 1.0)
    return sums, sizes


def _variance(sums: Floats, sizes: Floats) -> float:
    """Variance of the ratio mean over one grouping, as ultimate clusters."""
    residuals = sums - sums.sum() / sizes.sum() * sizes
    return float(len(sums) / (len(sums) - 1) * (residuals**2).sum() / sizes.sum() ** 2)


def _tails(level: float, parts: list[float], shape: tuple[int, ...]) -> Floats:
    """Tail levels whose normal quantiles are those of t, and make up for the (n - 1) / n of a bootstrap's variance."""
    from scipy.special import ndtr, stdtrit

    freedoms = [count - 1 for count in shape]
    shares = zip(parts, freedoms, strict=True)
    freedom = sum(parts) ** 2 / sum(part**2 / degrees for part, degrees in shares)
    drawn = sum(part * (n - 1) / n for part, n in zip(parts, shape, strict=True))
    reach = stdtrit(freedom, np.array([0.5 - level / 2, 0.5 + level / 2]))
    tails: Floats = ndtr(reach * math.sqrt(sum(parts) / drawn))
    return tails


def _replicates(
    sums: Floats, sizes: Floats, resamples: int, generator: np.random.Generator
) -> Floats:
    """Means of `resamples` draws of rows and of columns; a draw without any value is left out."""
    drawn = [
        generator.multinomial(n, np.full(n, 1 / n), resamples).astype(np.float64)
        for n in sums.shape
    ]
    total, weight = (
        np.einsum("br,rc,bc->b", drawn[0], part, drawn[1], optimize=True) for part in (sums, sizes)
    )
    means: Floats = total[weight > 0] / weight[weight > 0]
    return means
