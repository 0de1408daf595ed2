"""The hot loop. Victims and restarts are one batch of independent elements; nothing synchronises inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from gradsiege.attacks.optimizers.gradient import Optimizer
from gradsiege.attacks.variables import Variables, where
from gradsiege.progress import track

TRACE_POINTS = 100
OfIteration = Callable[[Variables, int], tuple[Variables, Tensor]]


@dataclass
class State:
    """Everything the loop needs to go on: iterate, memory, and each element's best iterate so far.

    ``x`` and ``best`` hold ``[n, ...]``, ``best_loss`` and ``best_iteration`` ``[n]``; ``trace`` holds the matching
    losses ``[n]`` at every ``TRACE_POINTS``-th part of the way; `phase` counts the phases before this one and
    `phase_results` holds what they returned; `extra` is whatever else the objective carries from iteration to iteration; `engine` and `chunk` are
    what the phase was begun with, so that a resumed one rounds alike.
    """

    x: Variables
    best: Variables
    best_loss: Tensor
    best_iteration: Tensor
    memory: Variables
    iteration: int = 0
    phase: int = 0
    engine: str = ""
    chunk: int = 0
    phase_results: Variables = field(default_factory=dict)
    extra: Variables = field(default_factory=dict)
    trace: list[tuple[int, Tensor]] = field(default_factory=list)

    def to(self, device: torch.device) -> State:
        """Return the state with all tensors on a device."""

        def move(part: Variables) -> Variables:
            return {name: value.to(device) for name, value in part.items()}

        return replace(
            self,
            x=move(self.x),
            best=move(self.best),
            best_loss=self.best_loss.to(device),
            best_iteration=self.best_iteration.to(device),
            memory=move(self.memory),
            phase_results=move(self.phase_results),
            extra=move(self.extra),
            trace=[(iteration, loss.to(device)) for iteration, loss in self.trace],
        )


def begin(x: Variables, optimizer: Optimizer) -> State:
    """Return the state before the first iteration; no element has a best iterate yet."""
    some = next(iter(x.values()))
    worst = torch.full((len(some),), torch.inf, device=some.device)
    nowhere = torch.full((len(some),), -1, dtype=torch.int64, device=some.device)
    empty = {name: torch.full_like(value, torch.nan) for name, value in x.items()}
    return State(x, empty, worst, nowhere, optimizer.start(x))


def keep_best(state: State, matching: Tensor) -> None:
    """Keep each element's iterate with the least matching loss; quality is unknown to an attacker.

    matching: ``[n]``, the losses of the present iterates.
    """
    better = matching < state.best_loss
    state.best = where(better, state.x, state.best)
    state.best_loss = torch.where(better, matching, state.best_loss)
    state.best_iteration = torch.where(better, state.iteration, state.best_iteration)


def optimise(
    evaluate: OfIteration,
    settle: Callable[[Variables, int], Variables],
    optimizer: Optimizer,
    iterations: int,
    state: State,
    pause: Callable[[State], None],
    patience: int | None = None,
) -> State:
    """Minimise from `state` on.

    `settle` brings moved elements back into the search space; `pause` is called between iterations and may
    save and leave. The last iterate is evaluated too, so `iterations` steps cost ``iterations + 1`` evaluations.
    An element that found nothing better for `patience` iterations stays where it is; when all stay, the loop ends.
    """
    every = max(1, iterations // TRACE_POINTS)
    first = state.iteration
    for iteration in track(range(first, iterations + 1), iterations, "attack", first):
        state.iteration = iteration
        pause(state)
        gradient, matching = evaluate(state.x, iteration)
        keep_best(state, matching)
        stopped = has_stopped(state, patience)
        if iteration % every == 0 or iteration == iterations:
            state.trace.append((iteration, matching))
            if stopped is not None and bool(stopped.all()):
                break
        if iteration < iterations:
            moved, state.memory = optimizer.step(
                state.x, gradient, state.memory, iteration, iterations
            )
            moved = settle(moved, iteration)
            state.x = moved if stopped is None else where(stopped, state.x, moved)
    return state


def has_stopped(state: State, patience: int | None) -> Tensor | None:
    """Return each element's stop flag ``[n]``; None where nothing ever stops.

    It needs no memory of its own: an element that stays where it is finds nothing better either.
    """
    if patience is None:
        return None
    return state.iteration - state.best_iteration.clamp_min(0) >= patience
