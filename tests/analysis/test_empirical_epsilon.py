"""The lower limit of epsilon: exact mechanisms meet its theorem, honest ones pass the audit, broken ones are caught."""

from __future__ import annotations

import math
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from scipy.stats import norm

from gradsiege.analysis.empirical_epsilon import (
    audit,
    empirical_epsilon,
    largest_success,
    least_epsilon,
    least_rate,
    under_substitution,
)


def at_least(k: int, n: int, rate: Fraction) -> Fraction:
    """The probability of k or more successes in n trials, in exact arithmetic."""
    return sum((comb(n, j) * rate**j * (1 - rate) ** (n - j) for j in range(k, n + 1)), Fraction(0))


@pytest.mark.parametrize(("candidates", "epsilon"), [(2, 1.0), (7, 0.1), (508, 4.0)])
def test_randomised_response_meets_the_theorem_exactly(candidates: int, epsilon: float) -> None:
    """It sends the truth with odds e^epsilon against each other value; the best attacker names what it receives."""
    weights = np.ones((candidates, candidates)) + (math.exp(epsilon) - 1) * np.eye(candidates)
    channel = weights / weights.sum(1, keepdims=True)
    assert channel.max() / channel.min() == pytest.approx(math.exp(epsilon))
    success = channel.max(0).sum() / candidates
    assert largest_success(epsilon, candidates) == pytest.approx(success, rel=1e-12)
    assert least_epsilon(success, candidates) == pytest.approx(epsilon, rel=1e-9)


def test_a_mechanism_that_sometimes_tells_all_meets_it_with_delta() -> None:
    """With probability delta the truth, else nothing: (0, delta)-private, and named with delta + (1 - delta) / m."""
    candidates, delta = 5, 0.2
    success = delta + (1 - delta) / candidates
    assert largest_success(0.0, candidates, delta) == pytest.approx(success, rel=1e-12)
    assert least_epsilon(success, candidates, delta) == pytest.approx(0, abs=1e-12)
    assert least_epsilon(success, candidates) > 0


@pytest.mark.parametrize("seed", range(20))
def test_no_channel_exceeds_the_theorem(seed: int) -> None:
    """Random mechanisms over a few messages, at their exact (epsilon, delta): the best attacker stays below."""
    generator = np.random.default_rng(seed)
    candidates, messages = int(generator.integers(2, 6)), int(generator.integers(2, 7))
    channel = generator.dirichlet(np.full(messages, generator.uniform(0.1, 3)), candidates)
    success = channel.max(0).sum() / candidates
    for epsilon in (0.0, 0.3, 1.0, 2.5):
        # The least delta: the largest excess of one row over e^epsilon times another.
        excess = channel[:, None] - math.exp(epsilon) * channel[None]
        delta = float(np.clip(excess, 0, None).sum(2).max())
        if delta < 1:
            assert success <= largest_success(epsilon, candidates, delta) + 1e-12
            assert least_epsilon(success, candidates, delta) <= epsilon + 1e-9


@pytest.mark.parametrize(("k", "n"), [(2, 8), (5, 8), (8, 8), (17, 32)])
def test_the_limit_is_where_the_tail_has_the_stated_probability(k: int, n: int) -> None:
    limit = Fraction(least_rate(k, n))
    assert float(at_least(k, n, limit)) == pytest.approx(0.05, rel=1e-9)
    assert limit < Fraction(k - 1, n), "Hoeffding's condition"


def test_the_limit_holds_for_victims_drawn_from_one_gallery_with_unequal_rates() -> None:
    """Exactly: an attacker who always names one candidate of four, victims drawn two of four without replacement."""
    rate, n = Fraction(1, 4), 2
    covered = Fraction(0)
    for k, probability in ((0, Fraction(1, 2)), (1, Fraction(1, 2))):
        if Fraction(least_rate(k, n)) <= rate:
            covered += probability
    assert covered >= Fraction(95, 100)
    # Of one success the binomial's own limit would be too high: some image is among 5 of 100 candidates in 5 cases of 100.
    assert least_rate(1, 5) == pytest.approx(0.01)
    assert 1 - 0.95 ** (1 / 5) > 0.01


def test_numbers_of_the_study() -> None:
    """Of 8 victims among 508: all, three, one and none."""
    expected = {8: 7.0180, 3: 4.1489, 1: 1.1599, 0: 0.0}
    for successes, epsilon in expected.items():
        assert empirical_epsilon(successes, 8, 508) == pytest.approx(epsilon, abs=1e-3)
    assert empirical_epsilon(32, 32, 32) == pytest.approx(5.7554, abs=1e-3)


def gaussian_delta(epsilon: float, sigma: float, sensitivity: float) -> float:
    """The exact delta of the Gaussian mechanism (Balle and Wang, ICML 2018, theorem 8)."""
    half, shift = sensitivity / (2 * sigma), epsilon * sigma / sensitivity
    return float(norm.cdf(half - shift) - math.exp(epsilon) * norm.cdf(-half - shift))


def accounted(sigma: float, sensitivity: float, delta: float) -> float:
    """The epsilon at which the mechanism has this delta, by bisection."""
    low, high = 0.0, 200.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if gaussian_delta(middle, sigma, sensitivity) > delta else (low, middle)
        )
    return high


def identified(sigma: float, rounds: int, candidates: int) -> int:
    """Successes of the likeliest guess among orthogonal vectors of length 1, which differ by sqrt(2)."""
    generator = np.random.default_rng(0)
    truth = generator.integers(0, candidates, rounds)
    received = np.eye(candidates)[truth] + sigma * generator.standard_normal((rounds, candidates))
    return int((received.argmax(1) == truth).sum())


@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0])
def test_the_gaussian_mechanism_passes_and_one_with_too_little_noise_is_caught(
    sigma: float,
) -> None:
    rounds, candidates, delta = 2000, 8, 1e-5
    epsilon = accounted(sigma, math.sqrt(2), delta)
    honest = audit(epsilon, identified(sigma, rounds, candidates), rounds, candidates, delta)
    assert honest.sound
    assert honest.empirical > 0
    # A fifth of the noise that was accounted for.
    broken = audit(epsilon, identified(sigma / 5, rounds, candidates), rounds, candidates, delta)
    assert not broken.sound


def test_randomised_response_with_the_wrong_odds_is_caught() -> None:
    """Simulated: the accounted epsilon is 1, the odds are those of 1, then of 3."""
    generator, rounds, candidates = np.random.default_rng(1), 500, 10
    for epsilon, sound in ((1.0, True), (3.0, False)):
        honest = generator.random(rounds) < math.exp(epsilon) / (math.exp(epsilon) + candidates - 1)
        assert audit(1.0, int(honest.sum()), rounds, candidates).sound == sound


def test_one_record_more_and_one_less_is_a_substitution() -> None:
    """The Gaussian mechanism at twice the sensitivity is within what the conversion allows, and below it."""
    sigma, delta = 1.0, 1e-5
    epsilon, converted = under_substitution(accounted(sigma, 1.0, delta), delta)
    assert gaussian_delta(epsilon, sigma, 2.0) <= converted
    assert accounted(sigma, 2.0, converted) < epsilon
    assert under_substitution(1e4, 0.5) == (2e4, 1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: least_rate(3, 2), "3 successes in 2 rounds"),
        (lambda: least_epsilon(0.5, 1), "at least two candidates"),
        (lambda: least_epsilon(1.5, 2), "between 0 and 1, got 1.5"),
        (lambda: largest_success(1.0, 2, 1.0), "delta lies between"),
        (lambda: audit(math.nan, 1, 2, 3), "at least 0, got nan"),
        (lambda: least_rate(1, 2, level=95), "confidence level"),
    ],
)
def test_impossible_numbers_are_refused(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
