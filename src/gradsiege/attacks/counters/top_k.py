"""A top-k update is exact where it is not zero, and bounds all other coordinates by one magnitude over all tensors."""

from __future__ import annotations

import torch

from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.counters.views import excess, smallest_received
from gradsiege.protocol.local_update import Tensors

VERSION = 1
REQUIRES = ("disclosure",)


def support_view(candidate: Tensors, observed: Tensors) -> tuple[Tensors, Tensors]:
    """Show the candidate on the received support, and elsewhere only what exceeds the smallest received magnitude of all.

    A tensor without any upload gets the bound of the other tensors.
    """
    limit = torch.stack([smallest_received(value) for value in observed.values()]).amin()
    return {k: excess(candidate[k], value, limit) for k, value in observed.items()}, observed


def on_support(plan: AttackPlan) -> AttackPlan:
    """Match on the received support; off it, penalise only entries that would have been uploaded."""
    return plan.with_view(support_view)
