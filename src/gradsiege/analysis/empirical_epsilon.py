"""A lower limit of epsilon from identification among candidates, and its comparison with an accounted epsilon.

The game. One of m candidates is drawn, all alike, and its owner sends a message made by a mechanism that is (epsilon, delta)-private
under substitution: for any two candidates i and j and any set S of messages, P_i(S) <= e^epsilon P_j(S) + delta. An attacker who knows
all candidates names one. Let S_i be the messages upon which it names i. For all pairs, P_i(S_i) <= e^epsilon P_j(S_i) + delta. Summed
over j != i and over i, with sum_j P_j(all S_i but S_j) <= m - m p for the success rate p = mean of P_i(S_i), this is
(m - 1) p <= e^epsilon (1 - p) + (m - 1) delta, hence

    p <= (e^epsilon + (m - 1) delta) / (e^epsilon + m - 1).                                                        (1)

Randomised response over m values meets it with equality for delta = 0. Whatever attacker is run, a success rate above (1) proves that
epsilon is larger; a rate below it proves nothing, since a better attacker may exist.

The rounds. Either every round draws its candidate anew, or n victims are n different ones of the m candidates, drawn at random or all
of them (m = n). In each case the number of successes is a sum of independent trials of mean rate p (for a draw without replacement its
generating polynomial has real roots alone, as elementary symmetric polynomials are stable), and trials of unequal rates are no more
likely to reach k >= n p + 1 successes than trials of equal ones (Hoeffding, Annals of Mathematical Statistics 27, 1956, theorem 5).
Victims that were not drawn like the other candidates, say from other scenes, make a valid game among themselves: m = n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradsiege.analysis.interval import check_level


def largest_success(epsilon: float, candidates: int, delta: float = 0.0) -> float:
    """Return the success rate that no attacker exceeds, equation 1; 1 / m for a mechanism that tells nothing.

    >>> round(largest_success(math.log(3), 2), 12), largest_success(0.0, 4)
    (0.75, 0.25)
    """
    _check(candidates, delta)
    if epsilon > 700:  # its exponential is infinite in double precision
        return 1.0
    odds = math.exp(epsilon)
    return min(1.0, (odds + (candidates - 1) * delta) / (odds + candidates - 1))


def least_epsilon(rate: float, candidates: int, delta: float = 0.0) -> float:
    """Return the least epsilon that allows a success rate: equation 1 solved for it; infinite for a rate of 1 beyond delta.

    >>> round(least_epsilon(0.75, 2) - math.log(3), 12), least_epsilon(0.25, 4)
    (0.0, 0.0)
    """
    _check(candidates, delta)
    if not 0 <= rate <= 1:
        raise ValueError(f"a success rate lies between 0 and 1, got {rate}")
    surplus = (candidates - 1) * (rate - delta)
    if surplus <= 1 - rate:
        return 0.0
    return math.inf if rate == 1 else math.log(surplus / (1 - rate))


def least_rate(successes: int, rounds: int, *, level: float = 0.95) -> float:
    """Return the lower confidence limit of a success rate: Clopper and Pearson's (Biometrika 26, 1934), one-sided.

    It is the rate at which so many successes or more have the probability 1 - level. For a single success the union bound
    (1 - level) / rounds replaces it, which holds for trials of unequal rates, too.

    >>> least_rate(0, 8), round(least_rate(8, 8), 4), round(least_rate(3, 8), 4), round(least_rate(1, 8), 5)
    (0.0, 0.6877, 0.1111, 0.00625)
    """
    from scipy.special import betaincinv

    check_level(level)
    if not 0 <= successes <= rounds:
        raise ValueError(f"{successes} successes in {rounds} rounds is not possible")
    if successes == 0:
        return 0.0
    if successes == 1:
        return (1 - level) / rounds
    return float(betaincinv(successes, rounds - successes + 1, 1 - level))


def empirical_epsilon(
    successes: int, rounds: int, candidates: int, delta: float = 0.0, *, level: float = 0.95
) -> float:
    """Return a lower limit of epsilon at a confidence level, from the successes of an attacker in the game.

    It cannot exceed what `rounds` successes in as many rounds give, whatever the mechanism: of 8 victims among 508
    candidates 7.02.

    Args:
        successes: how often the attacker named the right candidate (rank 1, a tie counts as a failure).
        rounds: how often it tried.
        candidates: among how many.
        delta: of the mechanism.
        level: of confidence, one-sided.

    >>> round(empirical_epsilon(8, 8, 508), 2), round(empirical_epsilon(3, 8, 508), 2), empirical_epsilon(0, 8, 508)
    (7.02, 4.15, 0.0)
    """
    return least_epsilon(least_rate(successes, rounds, level=level), candidates, delta)


def under_substitution(epsilon: float, delta: float) -> tuple[float, float]:
    """Return (epsilon, delta) under substitution of a mechanism that is private under removal and addition of one record.

    A substitution is one of each, so that the bound applies twice: (2 epsilon, (1 + e^epsilon) delta). For the Gaussian mechanism
    an accountant that is given half of the noise multiplier finds a smaller epsilon at that delta: a substitution moves a sum of clipped
    gradients by twice the bound.

    >>> under_substitution(0.0, 1e-5)
    (0.0, 2e-05)
    """
    return 2 * epsilon, min(1.0, (1 + math.exp(min(epsilon, 700.0))) * delta)


@dataclass(frozen=True)
class Audit:
    """An accounted epsilon beside the lower limit that an attack proves, both under substitution and at one delta.

    Attributes:
        accounted: what an accountant says that the mechanism has.
        empirical: what it has at least, at the confidence `level`.
    """

    accounted: float
    empirical: float
    level: float

    @property
    def sound(self) -> bool:
        """Whether the two agree; where they do not, the mechanism or its accountant is wrong, or one case in 20 has come (level 0.95)."""
        return self.empirical <= self.accounted


def audit(
    accounted: float,
    successes: int,
    rounds: int,
    candidates: int,
    delta: float = 0.0,
    *,
    level: float = 0.95,
) -> Audit:
    """Compare an accounted epsilon with what an attacker's successes prove; see `empirical_epsilon` for the arguments.

    Args:
        accounted: epsilon at `delta` under substitution; `under_substitution` converts one under addition and removal.

    >>> audit(5.0, 8, 8, 508).sound, audit(5.0, 3, 8, 508).sound
    (False, True)
    """
    if accounted < 0 or math.isnan(accounted):
        raise ValueError(f"an accounted epsilon is at least 0, got {accounted}")
    limit = empirical_epsilon(successes, rounds, candidates, delta, level=level)
    return Audit(accounted, limit, level)


def _check(candidates: int, delta: float) -> None:
    if candidates < 2:
        raise ValueError(f"a game needs at least two candidates, got {candidates}")
    if not 0 <= delta < 1:
        raise ValueError(f"delta lies between 0 and 1, got {delta}")
