"""PRECODE draws a code before the head: what comes from there on is random, what lies before is disturbed less."""

from __future__ import annotations

from gradsiege.attacks.counters.plan import AttackPlan

VERSION = 1
REQUIRES = ("disclosure",)


def drop_module(plan: AttackPlan) -> AttackPlan:
    """Leave the bottleneck and the head out of the match (arXiv 2208.04767); the label comes from the head's bias.

    The features in front of the head can be negative here, so that row sums say nothing of the label; for one image
    the bias gradient is p - onehot, whose only negative entry is the true class.
    """
    head = plan.head
    later = [name for name in plan.update if ".bottleneck." in name or name in head.parameters]
    informed = plan.without(later)
    if plan.images_per_client == 1:
        bias = plan.update[head.bias_for("precode.drop_module")]
        return informed.with_labels(bias.argmin(-1, keepdim=True))
    return informed
