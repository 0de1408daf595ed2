"""Images of every prior's training: some are held out, the others are mirrored at random."""

from __future__ import annotations

import torch
from torch import Tensor

HELD_OUT = 0.1


def hold_out(order: Tensor, least: int = 1) -> tuple[Tensor, Tensor]:
    """Return the (held-out, training) parts of a random order ``[n]`` of images: a tenth, and at least `least`, is held out.

    >>> hold_out(torch.tensor([3, 0, 1, 2]))
    (tensor([3]), tensor([0, 1, 2]))
    """
    held = max(least, round(HELD_OUT * len(order)))
    return order[:held], order[held:]


def mirror_some(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images ``[n, c, h, w]``, each mirrored left to right with probability one half."""
    flips = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(flips[:, None, None, None], images.flip(3), images)
