"""The hot loop. Victims and restarts are one batch of independent elements; nothing synchronises inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gradsiege.attacks.engine.optimizer import Adam
from gradsiege.progress import track

TRACE_POINTS = 100
Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass
class State:
    """Everything the loop needs to go on: iterate, moments, and each element's best iterate so far.

    Shapes: ``x`` and ``best`` are ``[n, ...]``, ``best_loss`` and ``best_iteration`` are ``[n]``; ``trace`` holds the
    matching losses ``[n]`` at every ``TRACE_POINTS``-th part of the way.
    """

    x: Tensor
    best: Tensor
    best_loss: Tensor
    best_iteration: Tensor
    moments: dict[str, Tensor]
    iteration: int = 0
    trace: list[tuple[int, Tensor]] = field(default_factory=list)


def begin(x: Tensor, optimizer: Adam) -> State:
    """Return the state before the first iteration; no element has a best iterate yet."""
    worst = torch.full((len(x),), torch.inf)
    nowhere = torch.full((len(x),), -1, dtype=torch.int64)
    return State(x, torch.full_like(x, torch.nan), worst, nowhere, optimizer.start(x))


def keep_best(state: State, matching: Tensor) -> None:
    """Keep each element's iterate with the least matching loss; quality is unknown to an attacker."""
    better = matching < state.best_loss
    wide = better.view(-1, *[1] * (state.x.dim() - 1))
    state.best = torch.where(wide, state.x, state.best)
    state.best_loss = torch.where(better, matching, state.best_loss)
    state.best_iteration = torch.where(better, state.iteration, state.best_iteration)


def optimise(
    evaluate: Evaluate,
    project: Callable[[Tensor], Tensor],
    optimizer: Adam,
    iterations: int,
    state: State,
    pause: Callable[[State], None],
) -> State:
    """Minimise from `state` on; `pause` is called between iterations and may save and leave.

    The last iterate is evaluated too, so `iterations` steps cost ``iterations + 1`` evaluations.
    """
    every = max(1, iterations // TRACE_POINTS)
    first = state.iteration
    for iteration in track(range(first, iterations + 1), iterations, "attack", first):
        state.iteration = iteration
        pause(state)
        gradient, matching = evaluate(state.x)
        keep_best(state, matching)
        if iteration % every == 0 or iteration == iterations:
            state.trace.append((iteration, matching))
        if iteration < iterations:
            moved, state.moments = optimizer.step(
                state.x, gradient, state.moments, iteration, iterations
            )
            state.x = project(moved)
    return state
