"""A top-k update is exact where it is not zero, and bounds all other coordinates by one magnitude over all tensors."""

from __future__ import annotations

import torch

from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.counters.unsent import CensoredLikelihood
from gradsiege.attacks.counters.views import excess, smallest_received
from gradsiege.protocol.local_update import Tensors

VERSION = 2
REQUIRES = ("disclosure",)
BY_NAME = ("likelihood",)


def limits(observed: Tensors) -> Tensors:
    """Return the bound of coefficients that were not sent, one for all tensors: the smallest received magnitude of all.

    The same scalar by the name of every tensor.
    """
    limit = torch.stack([smallest_received(value) for value in observed.values()]).amin()
    return dict.fromkeys(observed, limit)


def support_view(candidate: Tensors, observed: Tensors) -> tuple[Tensors, Tensors]:
    """Show the candidate on the received support, and elsewhere only what exceeds the smallest received magnitude of all.

    Both by name, each tensor of the shape of its parameter.

    A tensor without any upload gets the bound of the other tensors.
    """
    bounds = limits(observed)
    return {k: excess(candidate[k], value, bounds[k]) for k, value in observed.items()}, observed


def on_support(plan: AttackPlan) -> AttackPlan:
    """Match on the received support; off it, penalise only entries that would have been uploaded."""
    return plan.with_view(support_view)


def likelihood(plan: AttackPlan) -> AttackPlan:
    """Match by the probability that exactly these coordinates were sent, in nats, so that a prior can be weighed against it."""
    return plan.with_distance(CensoredLikelihood(limits))
