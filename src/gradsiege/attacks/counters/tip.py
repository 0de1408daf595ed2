"""TIP noises a tenth of every convolution's channels, and never the mean of a kernel (arXiv 2602.11633)."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from gradsiege.arithmetic import square_root
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.counters.views import on_support
from gradsiege.attacks.objectives import regularizers
from gradsiege.errors import ThreatModelError
from gradsiege.protocol.local_update import Tensors

VERSION = 1
REQUIRES = ("disclosure",)
TINY = 1e-30
# The weight of the feature term in the `breaching` framework; not tuned.
FEATURES = 0.1


def spatial_kernels(update: Tensors) -> list[str]:
    """Return the names of all convolutions wider than 1x1, the only tensors that TIP noises; ``[victims, out, in, k, k]``.

    >>> spatial_kernels({"conv": torch.zeros(1, 8, 3, 5, 5), "tokens": torch.zeros(1, 1, 16, 64)})
    ['conv']
    """
    return [name for name, value in update.items() if value.dim() == 5 and value.shape[-1] > 1]


def kernel_means(value: Tensor) -> Tensor:
    """Return the part of kernels ``[..., k, k]`` that is constant over the kernel: its zero frequency.

    >>> kernel_means(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
    tensor([[3., 3.],
            [3., 3.]])
    """
    return value.mean((-2, -1), keepdim=True).expand_as(value)


def channel_norms(value: Tensor) -> Tensor:
    """Return the l2 norm ``[..., out]`` of each output channel's high frequencies, where the noise lies."""
    return square_root((value - kernel_means(value)).square().sum((-3, -2, -1)))


def noised_channels(plan: AttackPlan, channels: int) -> int:
    """Return how many of a convolution's channels TIP noises for one ranking image: max(1, floor(p C)).

    A control of TIP that noises all channels says so in its disclosure.
    """
    if plan.disclosure.get("selection") == "all":
        return channels
    return max(1, math.floor(float(plan.disclosure["ratio"]) * channels + 1e-9))


def flagged(norms: Tensor, least: int, images: int) -> Tensor:
    """Return the channels that count as noised, bool ``[..., out]``.

    The `least` largest norms are noised, if the noise exceeds the gradient. With one image these are all. With
    several, a channel gets up to `images` draws and its norm up to sqrt(images) times that of one draw; channels
    that reach half of the smallest possible noise norm are therefore flagged, too.

    >>> flagged(torch.tensor([0.1, 5.0, 0.2, 4.0]), 2, 1)
    tensor([False,  True, False,  True])
    """
    smallest = norms.sort(-1, descending=True).values[..., least - 1 : least]
    return norms >= (smallest if images == 1 else smallest / (2 * math.sqrt(images)))


def drop_flagged_channels(plan: AttackPlan) -> AttackPlan:
    """Do not match the channels whose update stands out; the disclosure says how many there are.

    The other channels are the clean part of the true update, as far as the flags are right.
    """
    names = spatial_kernels(plan.update)
    update = dict(plan.update)
    for name in names:
        least = noised_channels(plan, update[name].shape[1])
        flags = flagged(channel_norms(update[name]), least, plan.images_per_client)
        update[name] = update[name].masked_fill(flags[..., None, None, None], 0)
    return plan.matching(update).with_view(partial(on_support, names=frozenset(names)))


def _means_view(
    candidate: Tensors, observed: Tensors, names: frozenset[str]
) -> tuple[Tensors, Tensors]:

    def means(update: Tensors) -> Tensors:
        return {k: kernel_means(update[k]) if k in names else update[k] for k in observed}

    return means(candidate), means(observed)


def keep_kernel_means(plan: AttackPlan) -> AttackPlan:
    """Match only the means of kernels: the noise has mean zero per kernel, so this part of the update is exact.

    It needs no flags, but ignores eight ninths of the 3x3 convolutions, including clean channels.
    """
    _require_clean_means(plan)
    return plan.with_view(partial(_means_view, names=frozenset(spatial_kernels(plan.update))))


def _require_clean_means(plan: AttackPlan) -> None:
    """Refuse settings (controls, all of them) whose noise has a mean."""
    spectrum, rho = plan.disclosure.get("spectrum", "high"), plan.disclosure["rho"]
    if spectrum != "high" or rho <= 0:
        raise ThreatModelError(
            f"kernel means are clean only where the noise is a high-pass with rho > 0, not with spectrum {spectrum!r} "
            f"and rho {rho}; use tip.drop_flagged_channels or tip.clean_tensors there"
        )


def noise_weights(norms: Tensor, least: int, images: int) -> Tensor:
    """Return s / sqrt(s^2 + sigma^2) for flagged channels and 1 for the others, ``[..., out]``.

    s is the norm of the median channel among those that need not be noised, and a flagged channel's own norm stands for
    sqrt(s^2 + sigma^2).

    >>> noise_weights(torch.tensor([1.0, 4.0, 1.0, 0.5]), 1, 1)
    tensor([1.0000, 0.2500, 1.0000, 1.0000])
    """
    channels = norms.shape[-1]
    place = min((least + channels) // 2, channels - 1)
    typical = norms.sort(-1, descending=True).values[..., place : place + 1]
    weights = (typical / norms.clamp_min(TINY)).clamp(max=1)
    return torch.where(flagged(norms, least, images), weights, 1)


def _whitened_view(
    candidate: Tensors, observed: Tensors, least: dict[str, int], images: int
) -> tuple[Tensors, Tensors]:
    ours, theirs = {name: candidate[name] for name in observed}, dict(observed)
    for name, count in least.items():
        weights = noise_weights(channel_norms(observed[name]), count, images)[:, None, None, None]
        for part in (ours, theirs):
            means = kernel_means(part[name])
            part[name] = means + weights * (part[name] - means)
    return ours, theirs


def whitened(plan: AttackPlan) -> AttackPlan:
    """Weigh the high frequencies of flagged channels by 1 / (signal variance + noise variance); keep all else.

    Both are estimated: the signal's variance from the median clean channel of the layer, their sum from the flagged
    channel itself. Weights are relative to those of clean channels, which stay as they are.
    """
    _require_clean_means(plan)
    names = spatial_kernels(plan.update)
    least = {name: noised_channels(plan, plan.update[name].shape[1]) for name in names}
    return plan.with_view(partial(_whitened_view, least=least, images=plan.images_per_client))


def clean_tensors(plan: AttackPlan) -> AttackPlan:
    """Match only what TIP never touches: batch norm, biases, the head and 1x1 convolutions."""
    return plan.without(spatial_kernels(plan.update))


def head_features(plan: AttackPlan) -> AttackPlan:
    """Drop flagged channels, and also match the head input that the head's update reveals, since the head is never noised.

    For one image and one local step the rows of the head's weight gradient are (p - onehot)_c h and those of its bias
    gradient (p - onehot)_c, so the features h are known exactly, whatever the noise on convolutions.

    Raises:
        ThreatModelError: several images or local steps, whose quotient is not the features of an image.
    """
    knowledge = plan.knowledge
    seen = knowledge.observation
    steps = 1 if seen.training is None else seen.training.steps
    if plan.images_per_client != 1 or steps != 1:
        raise ThreatModelError(
            "tip.head_features reads the features of one image from one gradient, not of "
            f"{plan.images_per_client} images in {steps} local steps; use tip.drop_flagged_channels there"
        )
    plan.head.weight_in(plan.update, "tip.head_features")
    plan.head.bias_in(plan.update, "tip.head_features")
    model = knowledge.model().to(knowledge.device)
    term = (
        FEATURES,
        regularizers.head_features(model, plan.head, seen.parameters, seen.buffers),
    )
    return drop_flagged_channels(plan).map_phases(
        lambda phase: replace(phase, regularizers=(*phase.regularizers, term))
    )
