"""Clipping changes the length of an update, never its direction."""

from __future__ import annotations

from functools import partial

import torch

from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.protocol.local_update import Tensors, norm

VERSION = 1
REQUIRES = ("disclosure",)
TINY = 1e-12
# An update this close to the bound was clipped to it.
AT_THE_BOUND = 1 - 1e-4


def scale_free_view(candidate: Tensors, observed: Tensors, bound: float) -> tuple[Tensors, Tensors]:
    """Scale the candidate to the length of a clipped update; a shorter update was not clipped and is compared as it is.

    >>> seen = {"a": torch.tensor([3.0, 4.0])}
    >>> one = {"a": torch.tensor([0.0, 1.0])}
    >>> [scale_free_view(one, seen, bound)[0]["a"].tolist() for bound in (5.0, 6.0)]
    [[0.0, 5.0], [0.0, 1.0]]
    """
    length = norm(observed)
    candidate_length = norm({name: candidate[name] for name in observed})
    factor = torch.where(
        length >= AT_THE_BOUND * bound, length / candidate_length.clamp_min(TINY), 1
    )
    return {name: candidate[name] * factor for name in observed}, observed


def scale_free(plan: AttackPlan) -> AttackPlan:
    """Compare only the directions of a clipped update; recipes that match by the cosine do so anyway."""
    bound = float(plan.disclosure["bound"])
    return plan.with_view(partial(scale_free_view, bound=bound))
