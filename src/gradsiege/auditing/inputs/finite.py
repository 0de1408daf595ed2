"""Where an array holds NaN or infinity, for the message that refuses it."""

from __future__ import annotations

import torch
from torch import Tensor


def not_finite(values: Tensor, name: str) -> str:
    """Return the place of the first NaN or infinity of an array, and how many there are; empty if all numbers are finite.

    >>> not_finite(torch.tensor([[1.0, torch.nan], [torch.inf, 0.0]]), "images")
    'images[0, 1] is nan, the first of 2 numbers that are not finite'
    >>> not_finite(torch.tensor(torch.inf), "sigma"), not_finite(torch.zeros(2), "images")
    ('sigma is inf, the only number that is not finite', '')
    """
    strange = ~values.isfinite()
    count = int(strange.sum())
    if not count:
        return ""
    place = torch.unravel_index(strange.flatten().byte().argmax(), values.shape)
    at = [int(index) for index in place]
    among = (
        "the only number that is not finite"
        if count == 1
        else f"the first of {count} numbers that are not finite"
    )
    return f"{name}{at or ''} is {values[tuple(at)].item()}, {among}"
