"""Wilson intervals against SciPy; effect sizes against formulas and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from gradsiege.analysis.effect import cohen_d_z, probability_of_improvement, rank_biserial
from gradsiege.analysis.rates import clustered_wilson_interval, wilson_interval


@pytest.mark.parametrize(("hits", "trials"), [(0, 12), (1, 12), (7, 12), (12, 12), (130, 400)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_equals_scipy(hits: int, trials: int, level: float) -> None:
    theirs = stats.binomtest(hits, trials).proportion_ci(level, method="wilson")
    ours = wilson_interval(hits, trials, level=level)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    alone = clustered_wilson_interval(np.arange(trials) < hits, np.arange(trials), level=level)
    assert (alone.low, alone.high) == pytest.approx((ours.low, ours.high))


@pytest.mark.parametrize("trials", [8, 12, 40])
def test_wilson_covers_exactly_as_its_formula_says(trials: int) -> None:
    """Coverage by enumeration, no simulation: every count, weighed by its binomial probability.

    Averaged over rates it is 95 %; at the worst rates (near 0 or 1, with so few victims) it falls to about 83 %, as is known
    of Wilson's interval without a correction (Brown, Cai and DasGupta, Statistical Science 2001).
    """
    intervals = [wilson_interval(hits, trials) for hits in range(trials + 1)]
    rates = np.linspace(0.005, 0.995, 397)
    low = np.array([one.low for one in intervals])
    high = np.array([one.high for one in intervals])
    held = (low[:, None] <= rates) & (rates <= high[:, None])
    chance = stats.binom.pmf(np.arange(trials + 1)[:, None], trials, rates)
    coverage = (held * chance).sum(axis=0)
    assert coverage.mean() == pytest.approx(0.95, abs=0.01)
    assert coverage.min() > 0.82
    plain = np.arange(trials + 1) / trials
    reach = 1.96 * np.sqrt(plain * (1 - plain) / trials)
    wald = ((np.abs(rates - plain[:, None]) <= reach[:, None]) * chance).sum(axis=0)
    assert wald.mean() < coverage.mean() - 0.02, "the textbook interval would fall short"


def test_fully_dependent_images_count_as_one() -> None:
    victims = np.repeat(np.arange(20), 4)
    outcomes = np.repeat(np.arange(20) < 5, 4)
    clustered = clustered_wilson_interval(outcomes, victims)
    once = wilson_interval(5, 20)
    assert (clustered.low, clustered.high) == pytest.approx((once.low, once.high))
    always = clustered_wilson_interval(np.ones(80), victims)
    assert always.low == pytest.approx(wilson_interval(20, 20).low)


def test_clustered_wilson_covers() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(400):
        chances = rng.beta(2, 4, 40)  # true rate 1/3
        outcomes = rng.random((40, 3)) < chances[:, None]
        interval = clustered_wilson_interval(outcomes.ravel(), np.repeat(np.arange(40), 3))
        hits += interval.low <= 1 / 3 <= interval.high
    assert 0.92 <= hits / 400 <= 0.98


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="not possible"):
        wilson_interval(5, 4)
    assert math.isnan(wilson_interval(0, 0).estimate)
    assert math.isnan(clustered_wilson_interval([], []).low)


def test_cohen_d_z_is_t_over_root_n() -> None:
    differences = np.random.default_rng(0).normal(1, 2, 25)
    t = stats.ttest_1samp(differences, 0).statistic
    assert cohen_d_z(differences) == pytest.approx(t / 5)
    assert math.isnan(cohen_d_z([1.0]))
    assert cohen_d_z([0.0, 0.0]) == 0.0
    assert cohen_d_z([-2.0, -2.0]) == -math.inf


def test_rank_biserial_matches_wilcoxon_statistic() -> None:
    differences = np.random.default_rng(3).normal(0.5, 1, 30)
    smaller = stats.wilcoxon(differences).statistic  # the smaller of W+ and W-
    total = 30 * 31 / 2
    assert abs(rank_biserial(differences)) == pytest.approx((total - 2 * smaller) / total)
    assert rank_biserial([0.0, 0.0]) == 0.0
    assert math.isnan(rank_biserial([]))


def test_probability_of_improvement_is_antisymmetric() -> None:
    differences = np.array([1.0, -2.0, 0.0, 3.0, 0.5])
    ahead = probability_of_improvement(differences)
    assert ahead == 0.7
    assert ahead + probability_of_improvement(-differences) == 1.0
    with pytest.raises(ValueError, match="finite"):
        probability_of_improvement([np.nan])
