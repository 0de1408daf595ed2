"""Bootstrap intervals: equal to SciPy's, and with the coverage they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gradsiege.analysis.bootstrap import mean_difference_interval, mean_interval
from gradsiege.analysis.interval import student_interval

STUDIES = 1000
NOISE = 3 * np.sqrt(0.95 * 0.05 / STUDIES)


@pytest.mark.parametrize("method", ["bca", "percentile"])
@pytest.mark.parametrize("size", [5, 12, 60])
def test_equals_scipy_draw_for_draw(method: str, size: int) -> None:
    values = np.random.default_rng(size).gamma(2.0, 5.0, size)
    ours = mean_interval(
        values, generator=np.random.default_rng(7), resamples=1500, method=method, expanded=False
    )
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=1500, method=method, rng=np.random.default_rng(7)
    ).confidence_interval
    assert ours.low == pytest.approx(theirs.low, rel=1e-10)
    assert ours.high == pytest.approx(theirs.high, rel=1e-10)
    assert ours.units == size


def test_paired_difference_equals_scipy_paired_bootstrap() -> None:
    rng = np.random.default_rng(1)
    baseline = rng.normal(20, 3, 30)
    treated = baseline + rng.normal(1, 1, 30)
    ours = mean_difference_interval(
        treated, baseline, generator=np.random.default_rng(3), resamples=999, expanded=False
    )
    theirs = stats.bootstrap(
        (treated, baseline),
        lambda a, b, axis: (a - b).mean(axis=axis),
        paired=True,
        n_resamples=999,
        rng=np.random.default_rng(3),
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-9)


def test_equal_clusters_behave_like_their_means() -> None:
    values = np.random.default_rng(2).normal(size=(20, 3))
    clusters = np.repeat(np.arange(20), 3)
    clustered = mean_interval(values.ravel(), clusters, generator=np.random.default_rng(0))
    of_means = mean_interval(values.mean(axis=1), generator=np.random.default_rng(0))
    assert clustered.low == pytest.approx(of_means.low)
    assert clustered.high == pytest.approx(of_means.high)


def _coverage(
    method: str, expanded: bool, victims: int, studies: int, most_images: int = 4
) -> float:
    """Share of made-up studies (dependent images within a victim, true mean 25) covered."""
    rng = np.random.default_rng(20240)
    hits = 0
    for _ in range(studies):
        clusters = np.repeat(np.arange(victims), rng.integers(1, most_images + 1, victims))
        values = 25 + rng.normal(0, 3, victims)[clusters] + rng.normal(0, 1, len(clusters))
        interval = mean_interval(
            values, clusters, generator=rng, resamples=1000, method=method, expanded=expanded
        )
        hits += interval.low <= 25 <= interval.high
    return hits / studies


@pytest.mark.parametrize("method", ["bca", "percentile"])
@pytest.mark.parametrize("expanded", [True, False])
def test_clustered_interval_covers_the_true_mean(method: str, expanded: bool) -> None:
    assert 0.92 <= _coverage(method, expanded, victims=40, studies=2000) <= 0.97


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_a_paired_clustered_interval_covers_the_true_difference(method: str) -> None:
    """Attacks that share hard and easy victims (spread 6 dB), and differ by 0.8 dB with skewed noise of an image.

    Pairing is what makes the interval short: the unpaired one would be several times as long.
    """
    rng = np.random.default_rng(411)
    hits, lengths = 0, []
    for _ in range(STUDIES):
        victims = np.repeat(np.arange(30), rng.integers(1, 4, 30))
        hard = rng.normal(0, 6, 30)[victims]
        own = rng.normal(0, 0.7, 30)[victims] + rng.gamma(2.0, 0.5, len(victims)) - 1.0
        baseline = 20 + hard + rng.normal(0, 0.3, len(victims))
        found = mean_difference_interval(
            baseline + 0.8 + own, baseline, victims, generator=rng, resamples=600, method=method
        )
        hits += found.low <= 0.8 <= found.high
        lengths.append(found.high - found.low)
    # Three standard errors of a rate of 0.95, and the half point that bootstraps of 30 units fall short.
    assert 0.95 - NOISE - 0.005 <= hits / STUDIES <= 0.95 + NOISE
    assert np.mean(lengths) < 6 / np.sqrt(30)


def test_expanded_tails_repair_small_studies() -> None:
    """Eight victims of one image each, as in the quick study."""
    assert _coverage("bca", False, victims=8, studies=2000, most_images=1) < 0.9
    assert 0.92 <= _coverage("bca", True, victims=8, studies=2000, most_images=1) <= 0.97


def test_ignoring_clusters_would_be_wrong() -> None:
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(40), 4)
    hits = 0
    for _ in range(400):
        values = 25 + rng.normal(0, 3, 40)[clusters] + rng.normal(0, 1, 160)
        interval = mean_interval(values, generator=rng, resamples=500)
        hits += interval.low <= 25 <= interval.high
    assert hits / 400 < 0.85


def test_draws_in_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=31)
    whole = mean_interval(values, generator=np.random.default_rng(5), resamples=501)
    monkeypatch.setattr("gradsiege.analysis.bootstrap._DRAWS_AT_ONCE", 31 * 7)
    assert mean_interval(values, generator=np.random.default_rng(5), resamples=501) == whole


def test_edges_are_honest() -> None:
    rng = np.random.default_rng(0)
    one = mean_interval([5.0, 6.0], ["a", "a"], generator=rng)
    assert one.estimate == 5.5
    assert np.isnan(one.low)
    assert np.isnan(one.high)
    assert one.units == 1
    none = mean_interval([], generator=rng)
    assert np.isnan(none.estimate)
    assert none.units == 0
    same = mean_interval([3.0] * 8, generator=rng)
    assert (same.low, same.high) == (3.0, 3.0)


@pytest.mark.parametrize(
    ("values", "clusters", "message"),
    [
        ([1.0, np.nan], None, "finite"),
        ([1.0, np.inf], None, "finite"),
        ([1.0, 2.0], ["a"], "cluster ids"),
        ([[1.0], [2.0]], None, "flat"),
    ],
)
def test_bad_input_is_refused(values: object, clusters: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mean_interval(values, clusters, generator=np.random.default_rng(0))
    with pytest.raises(ValueError, match="between 0 and 1"):
        mean_interval([1.0, 2.0], generator=np.random.default_rng(0), level=95)


def test_student_interval_equals_scipy() -> None:
    values = np.array([0.61, 0.64, 0.58])
    low, high = stats.t.interval(0.9, 2, values.mean(), stats.sem(values))
    interval = student_interval(values, level=0.9)
    assert (interval.low, interval.high) == pytest.approx((low, high))
    assert np.isnan(student_interval([0.5]).low)
    with pytest.raises(ValueError, match="failures"):
        student_interval([0.5, np.nan])


@pytest.mark.parametrize("values", [[20.0, 30.0], [20.0, 30.0, 31.0]])
def test_few_units_give_their_whole_range_and_no_error(values: list[float]) -> None:
    found = mean_interval(values, generator=np.random.default_rng(0))
    assert found.low <= found.estimate <= found.high
    assert min(values) <= found.low
    assert found.high <= max(values)


def test_values_that_differ_by_rounding_alone_have_an_interval() -> None:
    values = 8.0 + np.array([0.0, 1.0, -1.0, 2.0, 1.0]) * 1e-15
    interval = mean_interval(values, generator=np.random.default_rng(0))
    assert (interval.low, interval.high) == pytest.approx((8.0, 8.0))
