"""An estimate with its confidence limits, and the interval for a handful of seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Interval:
    """A point estimate and its two-sided confidence limits.

    `low` and `high` are NaN where the data cannot carry an interval (fewer than two sampling
    units): an unknown width is not a width of zero. `units` counts the sampling units.
    """

    estimate: float
    low: float
    high: float
    level: float
    units: int
    method: str

    def as_columns(self, name: str) -> dict[str, float]:
        """Return estimate and limits as the three columns of a metric.

        >>> Interval(20.0, 17.0, 23.0, 0.95, 8, "bca").as_columns("psnr")
        {'psnr': 20.0, 'psnr_low': 17.0, 'psnr_high': 23.0}
        """
        return {name: self.estimate, f"{name}_low": self.low, f"{name}_high": self.high}

    def widened(self, error: float) -> Interval:
        """Return the interval of the difference to a value that has a standard error of its own, independent of this one.

        The distances to both limits and the error's normal quantile add in quadrature.

        >>> exact = Interval(20.0, 17.0, 23.0, 0.95, 8, "bca")
        >>> wider = exact.widened(4 / 1.959964)
        >>> round(wider.low, 4), round(wider.high, 4)
        (15.0, 25.0)
        """
        from scipy.special import ndtri

        reach = error * float(ndtri(0.5 + self.level / 2))
        low = self.estimate - math.hypot(self.estimate - self.low, reach)
        high = self.estimate + math.hypot(self.high - self.estimate, reach)
        return replace(self, low=low, high=high)


def unknown(estimate: float, level: float, units: int, method: str) -> Interval:
    """Return an interval whose limits the data cannot give.

    >>> unknown(27.5, 0.95, 1, "bca").low
    nan
    """
    return Interval(estimate, math.nan, math.nan, level, units, method)


def check_level(level: float) -> None:
    """Refuse a confidence level outside (0, 1), such as 95 instead of 0.95."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"the confidence level must lie between 0 and 1, got {level}")


def student_interval(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """Student's t interval of a mean, for quantities measured once per seed (three or so).

    A bootstrap of three values cannot be trusted; t states its assumption (normal spread
    over seeds) and pays for the small number with width. NaN values are refused.

    values: [n]. Fewer than two values give NaN limits.

    >>> interval = student_interval([0.60, 0.62, 0.64])
    >>> round(interval.low, 4), round(interval.high, 4)
    (0.5703, 0.6697)
    """
    from scipy.special import stdtrit

    check_level(level)
    sample = np.asarray(values, dtype=np.float64)
    if np.isnan(sample).any():
        raise ValueError("student_interval needs finite values; count failures apart")
    mean = float(sample.mean()) if sample.size else math.nan
    if sample.size < 2:
        return unknown(mean, level, sample.size, "student")
    error = float(sample.std(ddof=1)) / math.sqrt(sample.size)
    reach = float(stdtrit(sample.size - 1, 0.5 + level / 2)) * error
    return Interval(mean, mean - reach, mean + reach, level, sample.size, "student")
