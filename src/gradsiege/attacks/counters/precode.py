"""PRECODE draws a random code before the head: the gradients from there on are random, earlier ones are disturbed less."""

from __future__ import annotations

from gradsiege.attacks.counters.plan import AttackPlan

VERSION = 1
REQUIRES = ("disclosure",)


def drop_module(plan: AttackPlan) -> AttackPlan:
    """Do not match the bottleneck and the head (arXiv 2208.04767); infer the label from the head's bias.

    The features in front of the head can be negative here, so row sums say nothing about the label; for one image
    the bias gradient is p - onehot, whose only negative entry is the true class.
    """
    head = plan.head
    later = [name for name in plan.update if ".bottleneck." in name or name in head.parameters]
    informed = plan.without(later)
    if plan.images_per_client == 1:
        bias = plan.update[head.bias_for("precode.drop_module")]
        return informed.with_labels(bias.argmin(-1, keepdim=True))
    return informed
