"""Several rounds of one client on the same images, and what an attacker makes of them (threat model `rounds`).

Together, every round is matched at its own global model, and all share one image; a counter answers each round by itself.
On average, the mean of the updates is matched at the first global model: fresh noise shrinks by the root of their number,
and what the models' small steps change is taken for noise.
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
    each = observation.rounds()
    if rounds == "joint":
        return each
    if rounds == "average":
        return [averaged(each)]
    return each[:1]


def averaged(each: Sequence[Observation]) -> Observation:
    """Return the first observation with the mean of all updates."""
    update = {
        name: torch.stack([one.update[name] for one in each]).mean(0) for name in each[0].update
    }
    return replace(each[0], update=update)


def agreed_labels(plans: Sequence[AttackPlan]) -> Tensor:
    """Return the labels that most rounds say, ``[victims, images]``; the smaller one of a draw.

    >>> torch.tensor([[[3]], [[7]], [[7]]]).mode(0).values
    tensor([[7]])
    """
    found = []
    for plan in plans:
        seen = plan.knowledge.observation
        known = seen.labels is not None and not plan.recipe.ordered_labels
        own = seen.labels if known else labels.inferred(seen, plan.recipe.label_rule)
        assert own is not None
        found.append(own)
    return torch.stack(found).mode(0).values
