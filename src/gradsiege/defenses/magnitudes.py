"""Selection of the smallest coordinates, for sparsification, top-k and Soteria."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def below_percentile(count: int, percent: float) -> int:
    """Return how many of `count` distinct values lie below their own percentile (linear interpolation, as NumPy).

    The released defenses zero values below ``numpy.percentile(values, percent)``.

    >>> below_percentile(10, 90), below_percentile(11, 90), below_percentile(1, 90)
    (9, 9, 0)
    """
    # An exact product must not be rounded up because of its last binary digit.
    return math.ceil(percent * (count - 1) / 100 - 1e-9)


def smallest(values: Tensor, count: int) -> Tensor:
    """Return a mask of the `count` smallest elements; among equal ones the first come first.

    >>> smallest(torch.tensor([3.0, 1.0, 2.0, 1.0]), 2)
    tensor([False,  True, False,  True])
    """
    mask = torch.zeros(values.numel(), dtype=torch.bool, device=values.device)
    mask[values.flatten().argsort(stable=True)[:count]] = True
    return mask.view(values.shape)
