"""The attacker's auxiliary images, divided: some become those of simulated clients, and priors learn from the rest."""

from __future__ import annotations

import torch
from torch import Tensor

from gradsiege.seeds import torch_generator


def divided(images: int, aside: int, seed: tuple[object, ...]) -> tuple[Tensor, Tensor]:
    """Return (places set aside, in random order; all others, in rising order) of so many images.

    A prior knows the images that it has learned from. If simulated clients held them, every weight of a prior would seem
    better than it is against victims.

    >>> divided(4, 0, ("any",))
    (tensor([], dtype=torch.int64), tensor([0, 1, 2, 3]))
    >>> taken, rest = divided(6, 2, ("any",))
    >>> len(taken), len(rest), set(taken.tolist()) & set(rest.tolist())
    (2, 4, set())
    """
    order = torch.randperm(images, generator=torch_generator(*seed, "set aside"))
    return order[:aside], order[aside:].sort().values
