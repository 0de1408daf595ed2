"""Two one-sided tests: a worked example, SciPy's one-sided tests, and the level that they hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from gradsiege.analysis.equivalence import Equivalence, tost, tost_bootstrap, tost_student
from gradsiege.analysis.interval import Interval

STUDIES = 2000
# Three standard errors of a rate of 0.05 in so many made-up studies.
NOISE = 3 * math.sqrt(0.05 * 0.95 / STUDIES)


def test_an_example_worked_by_hand() -> None:
    # Differences 1, 2, 3, 2, 2: mean 2, variance (1 + 0 + 1 + 0 + 0) / 4 = 0.5, error sqrt(0.5 / 5) = 0.31623.
    # Bounds 1 and 4: t = (2 - 1) / 0.31623 = 3.1623 and (4 - 2) / 0.31623 = 6.3246 with 4 degrees of freedom;
    # the larger p belongs to 3.1623. t(0.95, 4) = 2.1318, so the 90 % interval is 2 -+ 0.6741.
    found = tost_student([1.0, 2.0, 3.0, 2.0, 2.0], 1.0, 4.0)
    assert (found.interval.low, found.interval.high) == pytest.approx((1.3259, 2.6741), abs=1e-4)
    assert found.p_value == pytest.approx(stats.t.sf(3.16228, 4), rel=1e-5)
    assert 0.01 < found.p_value < 0.025  # tables of t: 2.776 at 0.025, 3.747 at 0.01
    assert found.shown


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (-0.2, 3.0), (-3.0, 0.5), (0.4, 0.6)])
@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_p_is_the_larger_of_scipys_one_sided_tests(low: float, high: float, alpha: float) -> None:
    rng = np.random.default_rng(4)
    treated, baseline = rng.normal(20.3, 1, 15), rng.normal(20, 1, 15)
    above = stats.ttest_rel(treated - low, baseline, alternative="greater").pvalue
    below = stats.ttest_rel(treated - high, baseline, alternative="less").pvalue
    found = tost_student(treated - baseline, low, high, alpha=alpha)
    assert found.p_value == pytest.approx(max(above, below), rel=1e-9)
    assert found.shown == (max(above, below) < alpha), "the interval and the two tests agree"


def test_images_of_one_victim_are_one_unit() -> None:
    differences = np.random.default_rng(0).normal(0.1, 1, 12)
    victims = np.repeat(np.arange(12), 3)
    repeated = tost_student(np.repeat(differences, 3), -1, 1, victims)
    assert repeated.p_value == pytest.approx(tost_student(differences, -1, 1).p_value)
    assert repeated.interval.units == 12


def test_the_bootstrap_and_t_agree_on_many_normal_values() -> None:
    values = np.random.default_rng(1).normal(0, 1, 200)
    student = tost_student(values, -1, 1).interval
    resampled = tost_bootstrap(values, -1, 1, generator=np.random.default_rng(0)).interval
    assert (resampled.low, resampled.high) == pytest.approx((student.low, student.high), abs=0.02)
    assert resampled.level == student.level == pytest.approx(0.9)


def _false_findings(method: str, units: int) -> float:
    """How often a mean that lies exactly on the upper bound is called equivalent."""
    rng = np.random.default_rng(31)
    hits = 0
    for _ in range(STUDIES):
        values = rng.normal(0.5, 1, units)
        if method == "student":
            hits += tost_student(values, -9, 0.5).shown
        elif method == "bootstrap":
            hits += tost_bootstrap(values, -9, 0.5, generator=rng, resamples=800).shown
        else:
            hits += tost(values, -9, 0.5, generator=rng)
    return hits / STUDIES


@pytest.mark.parametrize("units", [3, 8, 40])
def test_the_t_version_holds_its_level_at_the_margin(units: int) -> None:
    rate = _false_findings("student", units)
    assert rate <= 0.05 + NOISE
    assert rate >= 0.05 - NOISE, "and it is exact, not merely careful"


@pytest.mark.parametrize("units", [16, 40])
def test_the_bootstrap_holds_its_level_from_sixteen_units_on(units: int) -> None:
    assert _false_findings("bootstrap", units) <= 0.05 + NOISE


def test_both_together_hold_their_level_with_eight_victims() -> None:
    assert _false_findings("both", 8) <= 0.05 + NOISE


@pytest.mark.parametrize("side", [-1, 1])
def test_clustered_pairs_hold_the_level_on_either_margin(side: int) -> None:
    """Images of a victim share its difference; the mean lies on the lower or on the upper bound."""
    rng = np.random.default_rng(77)
    hits, studies = 0, 400
    for _ in range(studies):
        victims = np.repeat(np.arange(20), 3)
        values = 0.5 * side + rng.normal(0, 1, 20)[victims] + rng.normal(0, 0.4, 60)
        bounds = (-0.5, 9) if side < 0 else (-9, 0.5)
        hits += tost(values, *bounds, victims, generator=rng)
    assert hits / studies <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)
    assert hits > 0, "a test that never finds anything holds every level"


def test_images_taken_as_victims_would_break_the_level() -> None:
    rng = np.random.default_rng(78)
    hits = 0
    for _ in range(400):
        values = 0.5 + rng.normal(0, 1, 20)[np.repeat(np.arange(20), 3)] + rng.normal(0, 0.4, 60)
        hits += tost_student(values, -9, 0.5).shown
    assert hits / 400 > 0.1


def test_a_small_true_difference_is_found_equivalent() -> None:
    rng = np.random.default_rng(7)
    found = [tost(rng.normal(0.0, 1, 30), -1, 1, generator=rng) for _ in range(200)]
    assert np.mean(found) > 0.95


@pytest.mark.parametrize(
    ("low", "high", "by_t", "by_bootstrap"),
    [(-0.6, 1.8, True, False), (-0.3, 3.0, False, True), (-0.6, 3.0, True, True)],
)
def test_the_version_that_disagrees_decides(
    low: float, high: float, by_t: bool, by_bootstrap: bool
) -> None:
    """Seven values at zero and one at four: t says [-0.45, 1.45], the skewed bootstrap [0, 2]."""
    values = [0.0] * 7 + [4.0]
    rng = np.random.default_rng(0)
    assert tost_student(values, low, high).shown is by_t
    assert tost_bootstrap(values, low, high, generator=rng).shown is by_bootstrap
    assert tost(values, low, high, generator=rng) is (by_t and by_bootstrap)


def test_edges_are_honest() -> None:
    lone = tost_student([0.0], -1, 1)
    assert math.isnan(lone.p_value)
    assert not lone.shown
    assert not tost([0.0, 0.0], -1, 1, [5, 5], generator=np.random.default_rng(0))
    assert tost_student([0.25, 0.25, 0.25], -1, 1).p_value == 0.0
    assert tost_student([1.0, 1.0, 1.0], -1, 1).p_value == 1.0
    on_the_bound = Equivalence(Interval(0.0, -1.0, 0.5, 0.9, 8, "student"), -1.0, 1.0)
    assert not on_the_bound.shown


@pytest.mark.parametrize(
    ("low", "high", "alpha", "message"),
    [(1.0, 1.0, 0.05, "low < high"), (2.0, 1.0, 0.05, "low < high"), (-1.0, 1.0, 0.95, "alpha")],
)
def test_bad_bounds_are_refused(low: float, high: float, alpha: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tost_student([0.0, 1.0], low, high, alpha=alpha)
