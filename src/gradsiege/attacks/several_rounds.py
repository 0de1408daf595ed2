"""Attacks on several rounds of one client with the same images (threat model `rounds`).

With ``joint``, every round is matched at its own global model, and all share one image; a counter treats each round separately.
With ``average``, the mean of the updates is matched at the first global model: fresh noise shrinks by the root of their number,
and the changes of the model between rounds are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from gradsiege.attacks import labels
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.protocol.observation import Observation

Rounds = Literal["first", "joint", "average"]


def seen_by(observation: Observation, rounds: Rounds) -> list[Observation]:
    """Return the observations that an attack matches, one image shared by all of them."""
    known = observation.rounds()
    if rounds == "joint":
        return known
    if rounds == "average":
        return [averaged(known)]
    return known[:1]


def granted(observation: Observation, rounds: Rounds) -> tuple[Observation, ...]:
    """Return the rounds that a counter may read together: all of them, or the first for an attack on one round."""
    known = observation.rounds()
    return tuple(known[:1] if rounds == "first" else known)


def averaged(rounds: Sequence[Observation]) -> Observation:
    """Return the first observation with the mean of all updates."""
    update = {
        name: torch.stack([round_.update[name] for round_ in rounds]).mean(0)
        for name in rounds[0].update
    }
    return replace(rounds[0], update=update)


def agreed_labels(plans: Sequence[AttackPlan]) -> Tensor:
    """Return the labels by majority over the rounds, ``[victims, images]``."""
    by_round = []
    for plan in plans:
        seen = plan.knowledge.observation
        known = seen.labels is not None and not plan.recipe.ordered_labels
        guesses = seen.labels if known else labels.inferred(seen, plan.recipe.label_rule)
        assert guesses is not None
        by_round.append(guesses)
    return majority(torch.stack(by_round))


def majority(by_round: Tensor) -> Tensor:
    """Return the label that most rounds name, ``[victims, images]`` of ``[rounds, victims, images]``; the smaller one of a tie.

    >>> majority(torch.tensor([[[3, 9]], [[7, 1]], [[7, 5]]]))
    tensor([[7, 1]])
    """
    return by_round.mode(0).values
