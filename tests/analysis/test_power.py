"""Power of the paired test: published values, simulation, and the spread found in a score table."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gradsiege.analysis.power import detectable_difference, paired_spread, power


@pytest.mark.parametrize(
    ("effect", "units", "level", "published"),
    [
        # Cohen 1988, table 2.3.5 with d = d_z sqrt(2) and n pairs, and G*Power's manual: n = 34 for d_z = 0.5.
        (0.5, 34, 0.95, 0.8078),
        (0.5, 33, 0.95, 0.7954),
        (0.0, 12, 0.95, 0.05),
        (0.0, 12, 0.9, 0.1),
    ],
)
def test_published_values(effect: float, units: int, level: float, published: float) -> None:
    assert power(effect, units, level=level) == pytest.approx(published, abs=5e-5)


@pytest.mark.parametrize(("effect", "units"), [(1.2, 8), (0.4, 30), (-0.4, 30)])
def test_power_is_the_share_of_studies_that_find_the_effect(effect: float, units: int) -> None:
    values = np.random.default_rng(0).normal(effect, 1, (20_000, units))
    found = stats.ttest_1samp(values, 0, axis=1).pvalue < 0.05
    assert power(effect, units) == pytest.approx(found.mean(), abs=0.01)


def test_the_detectable_difference_has_the_wanted_power() -> None:
    for units in (3, 8, 50):
        size = detectable_difference(1.7, units, wanted=0.9)
        assert power(size / 1.7, units) == pytest.approx(0.9, abs=1e-9)
    assert detectable_difference(3.4, 8) == pytest.approx(2 * detectable_difference(1.7, 8))
    assert detectable_difference(1.7, 9) < detectable_difference(1.7, 8)


def test_edges() -> None:
    assert math.isnan(detectable_difference(1.0, 1))
    assert math.isnan(detectable_difference(math.nan, 8))
    assert detectable_difference(0.0, 8) == 0.0
    assert detectable_difference(1.0, 8, wanted=0.05) == 0.0
    assert power(1e3, 8) == 1.0
    with pytest.raises(ValueError, match="two units"):
        power(1.0, 1)
    with pytest.raises(ValueError, match="power"):
        detectable_difference(1.0, 8, wanted=80)


def test_the_spread_is_that_of_paired_differences(made_up_scores: pd.DataFrame) -> None:
    """Attacks differ by 1.5 - image / 2, alike for every victim but the capped and the failed one."""
    spread, units = paired_spread(made_up_scores)
    differences = np.full(10, 1.25)
    differences[3] = 1.5  # image 1 failed
    differences[9] = ((100 - 29) + (31 - 30)) / 2  # a perfect copy counts as 100 dB
    assert spread == pytest.approx(differences.std(ddof=1))
    assert units == 10


def test_defenses_are_compared_under_one_attack(
    made_up_row: Callable[..., dict[str, Any]],
) -> None:
    rows = [
        made_up_row(defense=defense, victim=victim, psnr=20 + sign * victim)
        for defense, sign in (("none", 1), ("tip", -1))
        for victim in range(4)
    ]
    spread, units = paired_spread(pd.DataFrame(rows))
    assert spread == pytest.approx(np.std([0, 2, 4, 6], ddof=1))
    assert units == 4


def test_a_study_that_compares_nothing_has_no_spread(
    made_up_row: Callable[..., dict[str, Any]],
) -> None:
    alone = pd.DataFrame([made_up_row(victim=victim) for victim in range(4)])
    spread, units = paired_spread(alone)
    assert math.isnan(spread)
    assert units == 0
