"""The moving average of a network's weights, which generates or denoises better than its last iterate."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def move_average(average: nn.Module, network: nn.Module, number: int, limit: float) -> None:
    """Move the weights of `average` towards those of `network`, as step `number` (from 0) of training ends.

    The share that stays is min(limit, (1 + number) / (10 + number)): short at first, so that the first weights are forgotten.

    Args:
        average: changed in place; has the layers of `network`.
        limit: the share that stays in the long run, in [0, 1).

    >>> average, network = nn.Linear(1, 1), nn.Linear(1, 1)
    >>> _ = average.weight.data.fill_(0.0), network.weight.data.fill_(1.0)
    >>> move_average(average, network, 0, 0.999)
    >>> round(average.weight.item(), 4)
    0.9
    """
    share = min(limit, (1 + number) / (10 + number))
    for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, 1 - share)
