"""Power of the paired t test, and the smallest difference that a study with a given number of victims detects.

Cohen, "Statistical power analysis for the behavioral sciences" (1988), chapter 2. The numbers are for planning
a study; no verdict depends on them.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from gradsiege.analysis.clusters import units as sampling_units
from gradsiege.analysis.interval import check_level
from gradsiege.analysis.paired import paired_differences
from gradsiege.analysis.significance import cluster_mean_differences

PAIRED = ["dataset", "model", "training_stage", "protocol", "threat_model"]


def power(effect: float, units: int, *, level: float = 0.95) -> float:
    """Power of the two-sided paired t test at 1 - level for the standardised effect d_z.

    effect: mean over standard deviation of the differences; units: number of pairs, at least 2.

    >>> round(power(0.5, 34), 4)
    0.8078
    """
    from scipy.special import nctdtr, stdtrit

    check_level(level)
    if units < 2:
        raise ValueError(f"a paired test needs two units or more, got {units}")
    shift, freedom = effect * math.sqrt(units), units - 1
    bar = float(stdtrit(freedom, 0.5 + level / 2))
    below, above = nctdtr(freedom, shift, -bar), 1 - nctdtr(freedom, shift, bar)
    # The library returns NaN instead of 0 for an empty tail.
    return float(np.nan_to_num(below) + np.nan_to_num(above))


def detectable_difference(
    spread: float, units: int, *, wanted: float = 0.8, level: float = 0.95
) -> float:
    """Return the smallest paired mean difference that a test on `units` pairs detects with power `wanted`.

    spread: standard deviation of the paired differences, in the unit of the metric. NaN for fewer than two
    units or an unknown spread.

    >>> round(detectable_difference(2.0, 8), 2)
    2.31
    """
    from scipy.optimize import brentq

    if not 0.0 < wanted < 1.0:
        raise ValueError(f"the power must lie between 0 and 1, got {wanted}")
    if units < 2 or math.isnan(spread):
        return math.nan
    if wanted <= 1 - level:
        return 0.0
    effect = brentq(lambda size: power(size, units, level=level) - wanted, 0.0, 1e3)
    return spread * float(effect)


def planned_difference(
    spread: float, victims: int, scenes: int, *, share: float = 0.5, comparisons: int = 1
) -> float:
    """Return the smallest mean difference that a planned study detects with 80 % power after Holm.

    The unit is the scene: a mean over v / s victims of one scene has the variance spread^2 (share + (1 - share) s / v). Holm's
    first step asks each of m comparisons for 0.05 / m, which the least favourable of them needs.

    spread: standard deviation of paired differences between victims. victims, scenes: v >= s >= 1. share: the part of this
    variance that victims of one scene have in common, 0 to 1. comparisons: m, at least 1. NaN for one scene.

    >>> round(planned_difference(2.0, 8, 8), 2), round(planned_difference(2.0, 32, 8, share=0.5), 2)
    (2.31, 1.83)
    >>> round(planned_difference(2.0, 32, 8, share=1.0, comparisons=20), 2)
    4.06
    """
    if not 1 <= scenes <= victims:
        raise ValueError(
            f"between one scene and one per victim ({victims}) are possible, got {scenes}"
        )
    if not 0.0 <= share <= 1.0:
        raise ValueError(
            f"the share of scenes in the variance must lie between 0 and 1, got {share}"
        )
    of_scene = spread * math.sqrt(share + (1 - share) * scenes / victims)
    return detectable_difference(of_scene, scenes, level=1 - 0.05 / comparisons)


def least_adjusted_p(scenes: int, comparisons: int) -> float:
    """Return the smallest p that a sign-flip or signed-rank test of so many scenes can reach after Holm, at most 1.

    >>> least_adjusted_p(8, 19), round(least_adjusted_p(32, 19), 9)
    (0.1484375, 9e-09)
    """
    return min(1.0, comparisons * 2.0 ** (1 - scenes))


def least_identified(scenes: int) -> float:
    """Return the share of identified victims that none identified among so many scenes excludes, at 5 % one-sided.

    >>> round(least_identified(8), 4), round(least_identified(32), 4)
    (0.3123, 0.0894)
    """
    return float(1 - 0.05 ** (1 / scenes))


def paired_spread(scores: pd.DataFrame, metric: str = "psnr") -> tuple[float, int]:
    """Median standard deviation of paired differences in a study, and the median number of scenes.

    Pairs are two attacks, or two defenses under one attack, on the same victims of one data set, model,
    stage, protocol and threat model; each pair is compared with the first of its group. NaN and 0 where the
    study compares nothing.
    """
    attacked = scores[scores["kind"] == "attack"]
    compared = []
    for fixed, varied in (("defense", "attack"), ("attack", "defense")):
        for _, group in attacked.groupby([*PAIRED, fixed], sort=False, observed=True):
            first, *others = [table for _, table in group.groupby(varied, sort=False)]
            for other in others:
                pairs = paired_differences(other, first, metric)
                means = cluster_mean_differences(pairs["difference"], sampling_units(pairs))
                if len(means) > 1:
                    compared.append((float(means.std(ddof=1)), len(means)))
    if not compared:
        return math.nan, 0
    spreads, counts = zip(*compared, strict=True)
    return float(np.median(spreads)), int(np.median(counts))
