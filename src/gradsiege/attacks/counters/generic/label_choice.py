"""The rule by which labels are inferred, chosen on simulated clients: the one that is right most often under the defense."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import torch
from torch import Tensor

from gradsiege.attacks import labels
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.errors import StudyError
from gradsiege.protocol.local_update import Tensors
from gradsiege.protocol.observation import stacked


def overlap(guessed: Tensor, true: Tensor) -> float:
    """Return the share of labels ``[clients, images]`` that were found, in whatever order, on average.

    >>> overlap(torch.tensor([[1, 1], [2, 3]]), torch.tensor([[1, 4], [3, 2]]))
    0.75
    """
    both = sum(
        (Counter(ours) & Counter(theirs)).total()
        for ours, theirs in zip(guessed.tolist(), true.tolist(), strict=True)
    )
    return both / true.numel()


def with_likeliest_labels(plan: AttackPlan, heads: list[Tensors], true: list[Tensor]) -> AttackPlan:
    """Infer labels that are not granted by the rule that finds most labels of simulated clients.

    Args:
        plan: an attack whose rule is used unless another one is better.
        heads: uploads of simulated clients, the head's parameters alone.
        true: their labels, ``[images]`` each.
    """
    seen = plan.knowledge.observation
    like = next(iter(seen.update.values()))
    uploads = {name: value.to(like) for name, value in stacked(heads).items()}
    clients = replace(seen, update=uploads)
    shares: dict[str, float] = {}
    for rule in dict.fromkeys((plan.recipe.label_rule, *labels.RULES)):
        try:
            shares[rule] = overlap(labels.inferred(clients, rule), torch.stack(true))
        except StudyError:
            # The rule needs what this network or this batch does not have, such as a bias or distinct labels.
            continue
    if not shares:
        return plan
    best = max(shares, key=lambda rule: shares[rule])
    return plan.with_labels(labels.inferred(seen, best))
