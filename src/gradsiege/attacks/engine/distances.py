"""How far a candidate's update is from the observed one; each returns one number per element."""

from __future__ import annotations

import torch
from torch import Tensor

from gradsiege.protocol.local_update import Tensors

TINY = 1e-12


def cosine(candidate: Tensors, observed: Tensors) -> Tensor:
    """Return 1 - cos over all tensors together (Geiping et al., NeurIPS 2020, equation 4).

    >>> a, b = {"w": torch.tensor([1.0, 0.0])}, {"w": torch.tensor([0.0, 2.0])}
    >>> cosine(a, a).item(), cosine(a, b).item()
    (0.0, 1.0)
    """
    product = torch.stack([(candidate[name] * observed[name]).sum() for name in observed]).sum()
    return 1 - product / (_norm(candidate, observed) * _norm(observed, observed))


def _norm(tensors: Tensors, names: Tensors) -> Tensor:
    squares = torch.stack([tensors[name].square().sum() for name in names]).sum()
    return (squares + TINY**2).sqrt()


def squared_l2(candidate: Tensors, observed: Tensors) -> Tensor:
    """Return the sum of squared differences over all tensors (Zhu et al., NeurIPS 2019, equation 4).

    >>> squared_l2({"w": torch.tensor([1.0, 3.0])}, {"w": torch.tensor([0.0, 1.0])}).item()
    5.0
    """
    differences = [(candidate[name] - observed[name]).square().sum() for name in observed]
    return torch.stack(differences).sum()
