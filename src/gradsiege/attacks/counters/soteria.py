"""Soteria hides features in one tensor, the head's weight, and zeros show which (Sun et al., CVPR 2021)."""

from __future__ import annotations

from functools import partial

from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.objectives.estimated_transforms import mask_head
from gradsiege.protocol.local_update import Tensors

VERSION = 1
REQUIRES = ("disclosure",)


def drop_layer(plan: AttackPlan) -> AttackPlan:
    """Do not match the defended layer's weight, as in Balunovic et al. (ICLR 2022); its bias is not defended."""
    return plan.without([plan.head.weight])


def masked_view(candidate: Tensors, observed: Tensors, weight: str) -> tuple[Tensors, Tensors]:
    """Zero the candidate's features that the received head lacks (Li et al., GGL, CVPR 2022).

    `weight` names the head's weight.
    """
    return mask_head({name: candidate[name] for name in observed}, observed, weight), observed


def estimated_mask(plan: AttackPlan) -> AttackPlan:
    """Match the defended layer on its nonzero columns, since the zero ones reveal the mask."""
    return plan.with_view(partial(masked_view, weight=plan.head.weight))
