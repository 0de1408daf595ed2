"""A sparse update is exact where it is not zero, and reveals that all other coordinates are small."""

from __future__ import annotations

from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.counters.unsent import CensoredLikelihood
from gradsiege.attacks.counters.views import excess, smallest_received
from gradsiege.protocol.local_update import Tensors

VERSION = 2
REQUIRES = ("disclosure",)
BY_NAME = ("likelihood",)


def support_view(candidate: Tensors, observed: Tensors) -> tuple[Tensors, Tensors]:
    """Show the candidate on the received support, and elsewhere only what exceeds the tensor's smallest received magnitude.

    Both by name, each tensor of the shape of its parameter.

    Pruned coordinates lie below that magnitude, so that an excess contradicts the update and anything less does not.
    """
    seen = {
        name: excess(candidate[name], value, smallest_received(value))
        for name, value in observed.items()
    }
    return seen, observed


def on_support(plan: AttackPlan) -> AttackPlan:
    """Match on the received support; off it, penalise only entries that would have been uploaded."""
    return plan.with_view(support_view)


def limits(observed: Tensors) -> Tensors:
    """Return the bound of coefficients that were not sent, per tensor: its own smallest received magnitude.

    A scalar by the name of each tensor.
    """
    return {name: smallest_received(value) for name, value in observed.items()}


def likelihood(plan: AttackPlan) -> AttackPlan:
    """Match by the probability that exactly these coordinates were sent, in nats, so that a prior can be weighed against it."""
    return plan.with_distance(CensoredLikelihood(limits))
