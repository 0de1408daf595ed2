"""Identification among the victims as a game that audits an account: what epsilon is at least, setting by setting.

The candidates of the game are the images of the victims alone (`analysis.empirical_epsilon` says why that is valid): all of them
take their turn, and a success is a victim whose image the attacker ranks first among them. An attacker who was given the label
or statistics of the batch knows more than the message, so that its successes prove nothing about the mechanism.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from gradsiege.analysis.empirical_epsilon import least_epsilon, least_rate

RANK = "candidate_rank_among_victims"
# What makes one game of the rows of a defense: an attacker, and what it attacks. Its seeds are independent repetitions.
GAME = ["training_stage", "protocol", "threat_model", "attack"]
# An interval of 95 % leaves so much on each side.
TAIL = 0.025


@dataclass(frozen=True)
class Evidence:
    """What one attacker proves of a mechanism.

    Attributes:
        protocol: local training of the clients, by its id.
        estimate: epsilon that its share of successes needs; infinite where every victim was named.
        low, high: limits of the 95 % interval of that epsilon (Clopper and Pearson's for the share). Below `low` epsilon is not.
        rounds: victims over all seeds.
    """

    protocol: str
    estimate: float
    low: float
    high: float
    rounds: int


def evidence(scores: pd.DataFrame, delta: float) -> list[Evidence]:
    """Return what every attacker in the rows of one defense proves; empty where nobody ranked the victims.

    All intervals hold together: each tail is divided by the number of attackers (Bonferroni).

    Args:
        scores: rows of one data set, network and defense under threat models that grant the message alone.
        delta: of the mechanism, under substitution of one image.

    >>> rows = {"training_stage": "late", "protocol": "p", "threat_model": "t", "attack": "identification", "seed": 0, "victim": range(8)}
    >>> found = evidence(pd.DataFrame(rows | {RANK: 1.0}), 0.0)[0]
    >>> found.estimate, round(found.low, 2), found.high, found.rounds
    (inf, 2.48, inf, 8)
    """
    if RANK not in scores:
        return []
    games = [part for _, part in scores[scores[RANK].notna()].groupby(GAME, sort=False)]
    level = 1 - TAIL / max(1, len(games))
    return [_of(game, delta, level) for game in games if _candidates(game) > 1]


def _candidates(game: pd.DataFrame) -> int:
    """Return the number of victims of one seed, who are the candidates."""
    return int(game.groupby("seed").size().min())


def _of(game: pd.DataFrame, delta: float, level: float) -> Evidence:
    candidates, rounds = _candidates(game), len(game)
    successes = int((game[RANK] == 1).sum())
    # An upper limit of successes is a lower one of failures.
    shares = (
        successes / rounds,
        least_rate(successes, rounds, level=level),
        1 - least_rate(rounds - successes, rounds, level=level),
    )
    estimate, low, high = (least_epsilon(share, candidates, delta) for share in shares)
    return Evidence(str(game["protocol"].iloc[0]), estimate, low, high, rounds)


def strongest(proofs: list[Evidence]) -> Evidence | None:
    """Return the evidence of the highest lower limit, the first of equal ones; None where there is none."""
    return max(proofs, key=lambda proof: (proof.low, proof.estimate), default=None)


def contradicted(proofs: list[Evidence], accounted: dict[str, float]) -> bool:
    """Return whether an attacker proves more than the account of its protocol allows; NaN accounts for nothing.

    >>> proof = Evidence("p", 4.0, 3.0, 5.0, 32)
    >>> contradicted([proof], {"p": 2.5}), contradicted([proof], {"p": 3.5}), contradicted([proof], {"p": math.nan})
    (True, False, False)
    """
    return any(proof.low > accounted.get(proof.protocol, math.nan) for proof in proofs)
