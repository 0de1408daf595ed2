"""PRECODE draws a random code before the head: the gradients from there on are random, earlier ones are disturbed less."""

from __future__ import annotations

from dataclasses import replace

from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.label_counts import counts
from gradsiege.attacks.objectives.known_gradient import KnownGradient
from gradsiege.attacks.objectives.sampled_codes import (
    SampledLoss,
    WithCodes,
    negative_log_prior_of_codes,
)
from gradsiege.errors import ThreatModelError

VERSION = 1
REQUIRES = ("disclosure",)
BY_NAME = ("exact", "sampled_codes")
ENCODER = ".bottleneck.encoder.bias"


def drop_module(plan: AttackPlan) -> AttackPlan:
    """Do not match the bottleneck and the head (arXiv 2208.04767); infer the label from the head's bias.

    The features in front of the head can be negative here, so row sums say nothing about the label; for one image
    the bias gradient is p - onehot, whose only negative entry is the true class.
    """
    head = plan.head
    later = [name for name in plan.update if ".bottleneck." in name or name in head.parameters]
    informed = plan.without(later)
    if plan.images_per_client == 1:
        bias = head.bias_in(plan.update, "precode.drop_module")
        return informed.with_labels(bias.argmin(-1, keepdim=True))
    return informed


def exact(plan: AttackPlan) -> AttackPlan:
    """Match every gradient up to the encoder exactly, for one image: the draw enters them through one known vector.

    With s = W h + b the encoder's output (mean and spread of the code), the upload holds delta = dL/ds, the gradient of b,
    whatever was drawn. A candidate's gradients are those of <delta, s(x)> with delta fixed: delta h(x)^T for W, and for each
    earlier layer what W^T delta becomes on its way back. At the true image they equal the upload. Decoder and head
    are left out, and the label is the only negative entry of the head's bias gradient p - onehot.

    Raises:
        ThreatModelError: several images or local steps, whose gradients share no single delta, or no bottleneck.
    """
    training = plan.knowledge.observation.training
    steps = 1 if training is None else training.steps
    if plan.images_per_client != 1 or steps != 1:
        raise ThreatModelError(
            f"precode.exact reads one image's gradient, not that of {plan.images_per_client} images in {steps} local steps; "
            "use precode.drop_module there"
        )
    biases = [name for name in plan.update if name.endswith(ENCODER)]
    if not biases:
        raise ThreatModelError(
            f"precode.exact needs the update of the bottleneck's encoder (...{ENCODER}), and the observed network has none"
        )
    (bias,) = biases
    classes = plan.head.bias_in(plan.update, "precode.exact").argmin(-1, keepdim=True)
    later = [name for name in plan.update if ".bottleneck.decoder." in name]
    loss = KnownGradient(bias.removesuffix(".bias"), bias)
    informed = plan.without([*later, *plan.head.parameters]).with_labels(classes)
    return informed.map_phases(lambda phase: replace(phase, loss=loss))


def sampled_codes(plan: AttackPlan) -> AttackPlan:
    """Search for the images and for what the client drew, and match all tensors with that draw (`objectives.sampled_codes`).

    For a batch, whose images share no gradient at the encoder; for one image `exact` needs no draw. Labels are counted from the
    head's bias gradient, the mean of p - onehot.

    Raises:
        ThreatModelError: several local steps, each with draws of its own.
    """
    seen = plan.knowledge.observation
    steps = 1 if seen.training is None else seen.training.steps
    if steps != 1:
        raise ThreatModelError(
            f"precode.sampled_codes searches for the draws of one local step, not of {steps}; use precode.drop_module there"
        )
    bias = plan.head.bias_in(plan.update, "precode.sampled_codes")
    informed = plan.with_labels(counts(bias, plan.images_per_client))
    codes = bias.new_zeros(plan.images_per_client, int(plan.disclosure["units"]))
    draws = (1.0, negative_log_prior_of_codes)
    loss = SampledLoss(float(plan.disclosure["beta"]))
    return informed.map_phases(
        lambda phase: replace(
            phase,
            space=WithCodes(phase.space, codes),
            regularizers=(*phase.regularizers, draws),
            loss=loss,
        )
    )
