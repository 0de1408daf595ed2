"""AGP noises the unimportant channels of some convolutions, all channels of the others, and nothing else (arXiv 2302.08044)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from gradsiege.arithmetic import square_root
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.counters.views import on_support
from gradsiege.errors import ThreatModelError
from gradsiege.protocol.local_update import Tensors

VERSION = 1
REQUIRES = ("disclosure",)


def convolutions(update: Tensors) -> list[str]:
    """Return the names of the weights ``[victims, out, in, k, k]`` of all convolutions, 1x1 ones included."""
    return [name for name, value in update.items() if value.dim() == 5]


def root_mean_squares(value: Tensor) -> Tensor:
    """Return the root mean square ``[victims, out]`` of each output channel of a weight."""
    return square_root(value.square().mean((-3, -2, -1)))


def drop_flagged_channels(plan: AttackPlan) -> AttackPlan:
    """Match the clean channels of protected convolutions: those far below the noise of most channels.

    The noise has the same deviation everywhere and covers at least three channels in four, so the median channel of all
    convolutions shows it; half of it separates clean from noised channels as long as the noise exceeds the gradient.
    """
    names = convolutions(plan.update)
    if not names:
        raise ThreatModelError(
            "agp.drop_flagged_channels compares the channels of convolutions, and this update has none; attack without a counter, "
            "or a model with convolutions"
        )
    sizes = {name: root_mean_squares(plan.update[name]) for name in names}
    limit = torch.cat(list(sizes.values()), -1).median(-1, keepdim=True).values / 2
    update = dict(plan.update)
    for name, norms in sizes.items():
        noised = norms >= limit
        update[name] = update[name].masked_fill(noised[..., None, None, None], 0)
    return plan.matching(update).with_view(partial(on_support, names=frozenset(names)))


def clean_tensors(plan: AttackPlan) -> AttackPlan:
    """Match only what AGP never touches: batch norm, biases and the head."""
    return plan.without(convolutions(plan.update))
