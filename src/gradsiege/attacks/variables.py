"""What an attack optimises: named tensors whose first dimension counts independent elements."""

from __future__ import annotations

import torch
from torch import Tensor

Variables = dict[str, Tensor]


def wide(flags: Tensor, like: Tensor) -> Tensor:
    """Reshape ``[n]`` flags so that they broadcast against ``[n, ...]``."""
    return flags.view(-1, *[1] * (like.dim() - 1))


def where(flags: Tensor, chosen: Variables, other: Variables) -> Variables:
    """Return, element by element, `chosen` where the flag is set and `other` elsewhere.

    >>> flags = torch.tensor([True, False])
    >>> where(flags, {"x": torch.ones(2, 1)}, {"x": torch.zeros(2, 1)})["x"].flatten().tolist()
    [1.0, 0.0]
    """
    return {
        name: torch.where(wide(flags, value), value, other[name]) for name, value in chosen.items()
    }


def flatten(variables: Variables) -> Tensor:
    """Return ``[n, d]``: all variables of an element in one row, in their order."""
    return torch.cat([value.flatten(1) for value in variables.values()], dim=1)


def unflatten(rows: Tensor, like: Variables) -> Variables:
    """Undo `flatten`.

    >>> like = {"a": torch.zeros(2, 1, 2), "b": torch.zeros(2, 1)}
    >>> {name: value.shape for name, value in unflatten(torch.zeros(2, 3), like).items()}
    {'a': torch.Size([2, 1, 2]), 'b': torch.Size([2, 1])}
    """
    sizes = [value[0].numel() for value in like.values()]
    parts = torch.split(rows, sizes, dim=1)
    return {name: part.view(like[name].shape) for name, part in zip(like, parts, strict=True)}
