"""Distances between a candidate's update and the observed one; each returns one number per element.

>>> a, b = {"w": torch.tensor([1.0, 0.0])}, {"w": torch.tensor([0.0, 2.0])}
>>> cosine(a, a).item(), cosine(a, b).item()
(0.0, 1.0)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.arithmetic import square_root
from gradsiege.protocol.local_update import Tensors

Distance = Callable[[Tensors, Tensors], Tensor]

TINY = 1e-12
Combine = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class ProductDistance:
    """A distance that needs nothing but inner products, which some engines have without forming the candidate's update.

    Attributes:
        combine: maps ``<candidate, observed>``, ``|candidate|^2`` and ``|observed|^2``, each ``[..., tensors]`` with one
            entry for every parameter, to the distance ``[...]``.
    """

    combine: Combine

    def __call__(self, candidate: Tensors, observed: Tensors) -> Tensor:
        """Return the distance of two updates, over the tensors that were observed."""
        pairs = [(candidate[name], value) for name, value in observed.items()]
        return self.combine(
            torch.stack([(ours * theirs).sum() for ours, theirs in pairs]),
            torch.stack([ours.square().sum() for ours, _ in pairs]),
            torch.stack([theirs.square().sum() for _, theirs in pairs]),
        )


def _one_minus_cosine(product: Tensor, candidate: Tensor, observed: Tensor) -> Tensor:
    return 1 - product.sum(-1) / (_root(candidate.sum(-1)) * _root(observed.sum(-1)))


def _root(square: Tensor) -> Tensor:
    """Return a norm whose derivative is finite at zero."""
    return square_root(square + TINY**2)


cosine = ProductDistance(_one_minus_cosine)
"""1 - cos over all tensors together (Geiping et al., NeurIPS 2020, equation 4)."""


def squared_l2(candidate: Tensors, observed: Tensors) -> Tensor:
    """Return the sum of squared differences over all tensors (Zhu et al., NeurIPS 2019, equation 4).

    It is not made of inner products: near the match their difference would cancel to nothing.

    >>> squared_l2({"w": torch.tensor([1.0, 3.0])}, {"w": torch.tensor([0.0, 1.0])}).item()
    5.0
    """
    differences = [(candidate[name] - observed[name]).square().sum() for name in observed]
    return torch.stack(differences).sum()
