"""Updates from which nothing can be told: not finite, zero everywhere, or too large to be compared."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gradsiege.protocol.local_update import Tensors, as_rows

NOT_FINITE = "the update is not finite"
ZERO = "the update is zero everywhere"
OVERFLOW = "the squares of the update overflow, so that it cannot be compared with another one"


def unusable(rounds: Sequence[Tensors]) -> list[str]:
    """Return for every victim why its update of some round cannot be inverted, empty where it can.

    A single tensor may be zero, as defenses and layers without a gradient leave it; all of them together must not. Every
    distance squares the update in its own precision.

    Args:
        rounds: the updates of every round, ``[victims, *shape]`` by name.

    >>> unusable([{"a": torch.tensor([[0.0], [3.0], [1e30]]), "b": torch.tensor([0.0, 0.0, torch.inf])}])
    ['the update is zero everywhere', '', 'the update is not finite']
    """
    return [_first(reasons) for reasons in zip(*map(_of_one_round, rounds), strict=True)]


def _of_one_round(update: Tensors) -> list[str]:
    finite, some, squares = zip(
        *(
            (rows.isfinite().all(1), rows.ne(0).any(1), rows.square().sum(1))
            for rows in map(as_rows, update.values())
        ),
        strict=True,
    )
    checks = {
        NOT_FINITE: _together(finite).all(0),
        ZERO: _together(some).any(0),
        OVERFLOW: _together(squares).sum(0).isfinite(),
    }
    victims = range(len(finite[0]))
    return [
        _first([reason for reason, holds in checks.items() if not holds[victim]])
        for victim in victims
    ]


def _together(flags: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(flags))


def _first(reasons: Sequence[str]) -> str:
    """Return the first reason that there is."""
    return next((reason for reason in reasons if reason), "")
