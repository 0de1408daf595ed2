"""The rank of the victim's own image among the candidates that an attack was granted."""

from __future__ import annotations

import torch
from torch import Tensor

from gradsiege.metrics.identification import rank_among
from gradsiege.protocol.gallery import order_of

SLACK = 1e-9
"""Losses closer than this are a tie: they differ by rounding, not by content."""


def candidate_rank(losses: Tensor, gallery: Tensor, among: int | None = None) -> Tensor:
    """Return the rank of each victim's image among the candidates, int64 ``[victims]``; 1 identifies it, chance is 1 / n.

    Ties count against the attacker, and an attack that failed gets the worst rank.

    Args:
        losses: ``[victims, n]``, of every candidate in the order that the attack was given (`protocol.gallery.order_of`), as
            `Reconstruction.candidate_losses` holds them.
        gallery: the candidates ``[n, c, h, w]`` in any other order, the victims' images first.
        among: number of images of `gallery` that count, its first ones; by default all.

    >>> gallery = torch.tensor([0.0, 0.5, 1.0]).reshape(3, 1, 1, 1)
    >>> of_images = torch.tensor([[0.1, 0.3, 0.2], [0.1, 0.3, 0.2]])
    >>> candidate_rank(of_images[:, order_of(gallery)], gallery).tolist()
    [1, 3]
    >>> candidate_rank(of_images[:, order_of(gallery)], gallery, among=2).tolist()
    [1, 2]
    """
    order = order_of(gallery)
    if losses.shape[1] != len(order):
        raise ValueError(f"losses of {losses.shape[1]} candidates, and a gallery of {len(order)}")
    of_images = torch.empty_like(losses).double()
    of_images[:, order] = losses.double().nan_to_num(torch.inf, torch.inf)
    return rank_among(of_images[:, :among], torch.arange(len(losses)), SLACK)
