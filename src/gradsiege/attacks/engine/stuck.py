"""Elements that an attack could not move, because its objective was never a number."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gradsiege.attacks.engine.loop import State
from gradsiege.attacks.variables import Variables, where
from gradsiege.protocol.reconstruction import Reconstruction

REASON = "the objective was NaN or infinite from the first iteration on; a regularizer of the attack or its weight makes it so"


def stuck(state: State, objective: Callable[[Variables], Tensor]) -> Tensor:
    """Return which elements never left a start whose objective is not finite, bool ``[n]``.

    A step along a gradient that is not finite moves nothing, so the matching loss stays that of the start, a finite number
    that says nothing of the attack. Elements that found a better iterate, or whose last one has a finite objective, are not meant.

    Args:
        state: after the last iteration of a phase.
        objective: maps variables to the whole objective ``[n]``; asked for only where an element's best iterate is its start.
    """
    at_start = state.best_iteration == 0
    if not bool(at_start.any()):
        return at_start
    at_start = at_start & ~objective(state.best).isfinite()
    return at_start & ~objective(state.x).isfinite() if bool(at_start.any()) else at_start


def without_result(state: State, flags: Tensor) -> None:
    """Take their result from these elements ``[n]``: variables NaN, loss infinite; the iteration 0 tells them from others."""
    nothing = {name: torch.full_like(value, torch.nan) for name, value in state.best.items()}
    state.best = where(flags, nothing, state.best)
    state.best_loss = torch.where(flags, torch.inf, state.best_loss)
    state.best_iteration = torch.where(flags, 0, state.best_iteration)


def reasons(reconstruction: Reconstruction) -> dict[int, str]:
    """Return the victims whose result was taken, with the reason; one whose matching loss was never finite has iteration -1."""
    flags = reconstruction.matching_loss.isposinf() & (reconstruction.iteration == 0)
    return dict.fromkeys(flags.nonzero().flatten().tolist(), REASON)
