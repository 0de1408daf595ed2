"""Euclidean projections on the probability simplex and on the l1 ball, row by row (Duchi et al., ICML 2008, figure 1)."""

from __future__ import annotations

import torch
from torch import Tensor


def _threshold(magnitudes: Tensor, total: float) -> Tensor:
    """Return theta ``[..., 1]`` with sum max(m - theta, 0) = total (Duchi et al., 2008, lemma 2 and equation 4).

    Sums run in float64: a feature has up to millions of coordinates.
    """
    ordered = magnitudes.sort(dim=-1, descending=True).values.double()
    excess = ordered.cumsum(-1) - total
    places = torch.arange(1, ordered.shape[-1] + 1, device=ordered.device)
    count = (ordered * places > excess).sum(-1, keepdim=True).clamp_min(1)
    return (excess.gather(-1, count - 1) / count).to(magnitudes.dtype)


def onto_simplex(values: Tensor, total: float = 1.0) -> Tensor:
    """Return the nearest point of {w >= 0, sum w = total} to every row of ``[..., d]``.

    >>> onto_simplex(torch.tensor([[0.5, 0.75, -4.0], [3.0, 0.0, 0.0]]))
    tensor([[0.3750, 0.6250, 0.0000],
            [1.0000, 0.0000, 0.0000]])
    """
    return (values - _threshold(values, total)).clamp_min(0)


def onto_l1_ball(values: Tensor, radius: float) -> Tensor:
    """Return the nearest point of {w: sum |w| <= radius} to every row of ``[..., d]``; rows inside stay as they are.

    Works under `vmap`: nothing depends on which rows are outside. A row that is not finite is lost and changes no other.

    >>> onto_l1_ball(torch.tensor([[3.0, -2.0], [0.5, -0.25]]), 2.0)
    tensor([[ 1.5000, -0.5000],
            [ 0.5000, -0.2500]])
    """
    if radius < 0:
        raise ValueError(f"the radius of an l1 ball must not be negative, got {radius}")
    magnitudes = values.abs()
    inside = magnitudes.double().sum(-1, keepdim=True) <= radius
    shrunk = (magnitudes - _threshold(magnitudes, radius)).clamp_min(0)
    return torch.where(inside, values, values.sign() * shrunk)
