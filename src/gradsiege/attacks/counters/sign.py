"""One bit per coordinate: a candidate needs the right signs, not the right magnitudes."""

from __future__ import annotations

from gradsiege.attacks.counters.plan import AttackPlan, Viewed
from gradsiege.attacks.objectives.distances import cosine
from gradsiege.protocol.local_update import Tensors

VERSION = 1
REQUIRES = ("disclosure",)
TINY = 1e-12


def soft_sign_view(candidate: Tensors, observed: Tensors) -> tuple[Tensors, Tensors]:
    """Show the candidate's soft signs v / sqrt(v^2 + m^2), m its tensor's mean magnitude, beside the received signs.

    An exact zero, such as the gradient of a dead unit, is received as zero and then wanted.
    """
    soft = {}
    for name in observed:
        scale = candidate[name].abs().mean() + TINY
        ratio = candidate[name] / scale
        soft[name] = ratio / (1 + ratio.square()).sqrt()
    return soft, {name: value.sign() for name, value in observed.items()}


def sign_consistent(plan: AttackPlan) -> AttackPlan:
    """Match soft signs by their cosine, every coordinate alike, whatever the tensor's scale."""
    return plan.with_distance(Viewed(cosine, soft_sign_view))
