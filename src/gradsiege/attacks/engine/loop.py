"""The hot loop. Victims and restarts are one batch of independent elements; nothing synchronises inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gradsiege.attacks.engine.optimizer import Optimizer
from gradsiege.attacks.engine.variables import Variables, where
from gradsiege.progress import track

TRACE_POINTS = 100
Evaluate = Callable[[Variables, int], tuple[Variables, Tensor]]


@dataclass
class State:
    """Everything the loop needs to go on: iterate, memory, and each element's best iterate so far.

    ``x`` and ``best`` hold ``[n, ...]``, ``best_loss`` and ``best_iteration`` ``[n]``; ``trace`` holds the matching
    losses ``[n]`` at every ``TRACE_POINTS``-th part of the way; `stage` counts the stages before this one and `kept`
    what they found; `extra` is whatever else the objective carries from iteration to iteration.
    """

    x: Variables
    best: Variables
    best_loss: Tensor
    best_iteration: Tensor
    memory: Variables
    iteration: int = 0
    stage: int = 0
    kept: Variables = field(default_factory=dict)
    extra: Variables = field(default_factory=dict)
    trace: list[tuple[int, Tensor]] = field(default_factory=list)


def begin(x: Variables, optimizer: Optimizer) -> State:
    """Return the state before the first iteration; no element has a best iterate yet."""
    n = len(next(iter(x.values())))
    worst = torch.full((n,), torch.inf)
    nowhere = torch.full((n,), -1, dtype=torch.int64)
    empty = {name: torch.full_like(value, torch.nan) for name, value in x.items()}
    return State(x, empty, worst, nowhere, optimizer.start(x))


def keep_best(state: State, matching: Tensor) -> None:
    """Keep each element's iterate with the least matching loss; quality is unknown to an attacker."""
    better = matching < state.best_loss
    state.best = where(better, state.x, state.best)
    state.best_loss = torch.where(better, matching, state.best_loss)
    state.best_iteration = torch.where(better, state.iteration, state.best_iteration)


def optimise(
    evaluate: Evaluate,
    settle: Callable[[Variables, int], Variables],
    optimizer: Optimizer,
    iterations: int,
    state: State,
    pause: Callable[[State], None],
) -> State:
    """Minimise from `state` on.

    `settle` brings moved elements back into the search space; `pause` is called between iterations and may
    save and leave. The last iterate is evaluated too, so `iterations` steps cost ``iterations + 1`` evaluations.
    """
    every = max(1, iterations // TRACE_POINTS)
    first = state.iteration
    for iteration in track(range(first, iterations + 1), iterations, "attack", first):
        state.iteration = iteration
        pause(state)
        gradient, matching = evaluate(state.x, iteration)
        keep_best(state, matching)
        if iteration % every == 0 or iteration == iterations:
            state.trace.append((iteration, matching))
        if iteration < iterations:
            moved, state.memory = optimizer.step(
                state.x, gradient, state.memory, iteration, iterations
            )
            state.x = settle(moved, iteration)
    return state
