"""Views that several counters share: each maps (candidate, observed) of one element to the two updates that are compared."""

from __future__ import annotations

import torch
from torch import Tensor

from gradsiege.protocol.local_update import Tensors


def on_support(
    candidate: Tensors, observed: Tensors, names: frozenset[str]
) -> tuple[Tensors, Tensors]:
    """Zero the candidate wherever the observed update is zero, in the named tensors.

    >>> seen = {"a": torch.tensor([0.0, 2.0]), "b": torch.tensor([0.0])}
    >>> on_support({"a": torch.tensor([5.0, 3.0]), "b": torch.tensor([7.0])}, seen, frozenset("a"))[0]
    {'a': tensor([0., 3.]), 'b': tensor([7.])}
    """
    masked = {
        name: candidate[name] * (value != 0) if name in names else candidate[name]
        for name, value in observed.items()
    }
    return masked, observed


def smallest_received(value: Tensor) -> Tensor:
    """Return the least magnitude of a tensor that is not zero; infinite if there is none.

    >>> smallest_received(torch.tensor([0.0, -2.0, 3.0]))
    tensor(2.)
    """
    return torch.where(value != 0, value.abs(), torch.inf).amin()


def excess(value: Tensor, received: Tensor, limit: Tensor) -> Tensor:
    """Return the candidate where something was received, and elsewhere only what exceeds the limit.

    >>> excess(torch.tensor([1.0, 1.0, -5.0]), torch.tensor([4.0, 0.0, 0.0]), torch.tensor(2.0))
    tensor([ 1.,  0., -3.])
    """
    # sign * max(|v| - limit, 0), without the magnitude's kink at zero.
    over = value - torch.minimum(torch.maximum(value, -limit), limit)
    return torch.where(received != 0, value, over)
