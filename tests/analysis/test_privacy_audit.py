"""Identification among victims as an audit: honest mechanisms pass it, broken ones are caught, and limits hold together."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from gradsiege.analysis.empirical_epsilon import largest_success, least_epsilon
from gradsiege.analysis.privacy_audit import RANK, Evidence, contradicted, evidence, strongest


def rows(
    ranks: np.ndarray, attack: str = "identification", seed: int = 0, protocol: str = "fedsgd"
) -> pd.DataFrame:
    place = {"training_stage": "late", "protocol": protocol, "threat_model": "gallery"}
    return pd.DataFrame(
        place | {"attack": attack, "seed": seed, "victim": np.arange(len(ranks)), RANK: ranks}
    )


def ranks_of(sigma: float, victims: int, seed: int) -> np.ndarray:
    """Ranks of the likeliest guess: every victim sends an orthogonal vector of length 1 with Gaussian noise."""
    generator = np.random.default_rng(seed)
    received = np.eye(victims) + sigma * generator.standard_normal((victims, victims))
    own = np.diag(received)
    ranks: np.ndarray = 1 + (received > own[:, None]).sum(1)
    return ranks


def accounted(sigma: float, delta: float) -> float:
    """An account of the Gaussian mechanism at the distance sqrt(2) of two such vectors, exact (Balle and Wang, 2018)."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    distance = math.sqrt(2)

    def excess(epsilon: float) -> float:
        half, shift = distance / (2 * sigma), epsilon * sigma / distance
        value = norm.cdf(half - shift) - math.exp(epsilon) * norm.cdf(-half - shift)
        return float(value - delta)

    return float(brentq(excess, 0, 100))


@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.0])
def test_an_honest_mechanism_passes_and_one_with_less_noise_is_caught(sigma: float) -> None:
    delta = 1e-5
    account = {"fedsgd": accounted(sigma, delta)}
    for noise, wrong in ((sigma, False), (sigma / 10, True)):
        table = pd.concat([rows(ranks_of(noise, 32, seed), seed=seed) for seed in range(10)])
        proofs = evidence(table, delta)
        assert contradicted(proofs, account) == wrong
        best = strongest(proofs)
        assert best is not None
        assert best.rounds == 320


def test_numbers_of_one_attacker() -> None:
    """Five of eight named: Clopper and Pearson's 95 % interval of the share is 24.5 to 91.5 %."""
    (found,) = evidence(rows(np.array([1, 1, 1, 1, 1, 3, 2, 8])), 0.0)
    assert found.estimate == pytest.approx(least_epsilon(5 / 8, 8))
    assert largest_success(found.low, 8) == pytest.approx(0.2449, abs=1e-4)
    assert largest_success(found.high, 8) == pytest.approx(0.9148, abs=1e-4)


def test_of_several_attackers_each_is_believed_less_and_the_strongest_stands() -> None:
    good, bad = np.ones(16), np.full(16, 2)
    alone = strongest(evidence(rows(good), 0.0))
    together = strongest(evidence(pd.concat([rows(bad, "weak"), rows(good)]), 0.0))
    assert alone is not None
    assert together is not None
    assert math.isinf(together.estimate)
    assert 0 < together.low < alone.low


def test_the_limits_of_many_useless_attackers_hold_together() -> None:
    """Five attackers who guess: the largest of their limits exceeds the truth, zero, in at most one case of forty on average."""
    generator = np.random.default_rng(0)
    false = 0
    for _ in range(100):
        table = pd.concat(
            [
                # A guess that is drawn for every victim by itself; some victims are named by chance.
                rows(generator.integers(1, 17, 16), f"guess{number}")
                for number in range(5)
            ]
        )
        best = strongest(evidence(table, 0.0))
        false += best is not None and best.low > 0
    assert false <= 8, "at most 2.5 are expected"


def test_what_ranks_nobody_proves_nothing() -> None:
    empty = rows(np.full(4, np.nan))
    for table in (empty, empty.drop(columns=RANK), rows(np.array([1.0]))):
        assert evidence(table, 0.0) == []
    assert strongest([]) is None


def test_every_protocol_has_its_own_account() -> None:
    proofs = [Evidence("one", 9.0, 5.0, math.inf, 32), Evidence("four", 3.0, 1.0, 4.0, 32)]
    assert not contradicted(proofs, {"one": 6.0, "four": 2.0})
    assert contradicted(proofs, {"one": 6.0, "four": 0.5})
    assert not contradicted(proofs, {"one": 6.0}), "no account, nothing to refute"
