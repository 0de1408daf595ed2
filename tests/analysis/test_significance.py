"""Paired tests against SciPy, and Holm against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gradsiege.analysis.significance import (
    cluster_mean_differences,
    holm,
    sign_flip_permutation,
    wilcoxon_signed_rank,
)


@pytest.mark.parametrize("size", [6, 20, 80])
def test_wilcoxon_equals_scipy(size: int) -> None:
    differences = np.random.default_rng(size).normal(0.4, 1, size)
    assert wilcoxon_signed_rank(differences) == stats.wilcoxon(differences).pvalue


def test_wilcoxon_sees_one_difference_a_victim() -> None:
    differences = np.random.default_rng(0).normal(0.5, 1, 12)
    doubled = np.repeat(differences, 2)
    clustered = wilcoxon_signed_rank(doubled, np.repeat(np.arange(12), 2))
    assert clustered == wilcoxon_signed_rank(differences)
    assert wilcoxon_signed_rank(doubled) < clustered  # what repeating rows would have gained


def test_exact_sign_flips_equal_scipy() -> None:
    differences = np.random.default_rng(4).normal(0.6, 1, 10)
    theirs = stats.permutation_test(
        (differences, np.zeros(10)),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    )
    ours = sign_flip_permutation(differences, generator=np.random.default_rng(0))
    assert ours == pytest.approx(theirs.pvalue)


def test_sampled_sign_flips_are_close_to_t_and_never_zero() -> None:
    differences = np.random.default_rng(8).normal(0.35, 1, 40)
    ours = sign_flip_permutation(differences, generator=np.random.default_rng(1))
    assert ours == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.01)
    sure = sign_flip_permutation(np.ones(40), generator=np.random.default_rng(1), resamples=999)
    assert sure == 1 / 1000


def test_sign_flips_hold_their_level() -> None:
    rng = np.random.default_rng(11)
    p_values = [
        sign_flip_permutation(rng.normal(size=12), generator=rng, resamples=4095)
        for _ in range(400)
    ]
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.025)


def test_holm_by_hand() -> None:
    # Sorted 0.005 0.01 0.02 0.04 0.3, factors 5 4 3 2 1: 0.025 0.04 0.06 0.08 0.3.
    given = [0.04, 0.005, 0.3, 0.01, 0.02]
    assert holm(given) == pytest.approx([0.08, 0.025, 0.3, 0.04, 0.06])


def test_holm_stays_monotone_and_below_one() -> None:
    # Sorted 0.4 0.45 0.6, factors 3 2 1: 1.2 cut to 1, then never below it.
    assert holm([0.6, 0.4, 0.45]).tolist() == [1.0, 1.0, 1.0]


def test_holm_leaves_out_comparisons_that_were_not_made() -> None:
    adjusted = holm([0.02, np.nan, 0.03])
    assert adjusted[[0, 2]] == pytest.approx([0.04, 0.04])
    assert np.isnan(adjusted[1])
    assert holm([]).size == 0


def test_edges() -> None:
    rng = np.random.default_rng(0)
    assert np.isnan(wilcoxon_signed_rank([]))
    assert np.isnan(sign_flip_permutation([], generator=rng))
    assert wilcoxon_signed_rank([0.0, 0.0]) == 1.0
    assert sign_flip_permutation([0.0, 0.0], generator=rng) == 1.0
    assert cluster_mean_differences([2.0, 4.0], [1, 1]).tolist() == [3.0]
