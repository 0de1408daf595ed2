"""PRECODE draws a code before the head: what comes from there on is random, what lies before is disturbed less."""

from __future__ import annotations

from gradsiege.attacks.counters.attempt import Attempt

VERSION = 1
REQUIRES = ("disclosure",)


def drop_module(attempt: Attempt) -> Attempt:
    """Leave the bottleneck and the head out of the match (arXiv 2208.04767); the label comes from the head's bias.

    The features in front of the head can be negative here, so that row sums say nothing of the label; for one image
    the bias gradient is p - onehot, whose only negative entry is the true class.
    """
    head = attempt.head
    later = [name for name in attempt.update if ".bottleneck." in name or name in head.parameters]
    informed = attempt.without(later)
    if attempt.images == 1:
        bias = attempt.update[head.bias_for("precode.drop_module")]
        return informed.with_labels(bias.argmin(-1, keepdim=True))
    return informed
