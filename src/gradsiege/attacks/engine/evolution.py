"""CMA-ES over many independent elements: each has its own search distribution, all populations are one batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap

from gradsiege.attacks.engine.loop import TRACE_POINTS, State, keep_best
from gradsiege.attacks.engine.objective import Cost, Target
from gradsiege.attacks.optimizers.cmaes import CMAES, pack
from gradsiege.attacks.variables import Variables, unflatten
from gradsiege.progress import track
from gradsiege.seeds import seed_for

# Candidates evaluated at once, which bounds memory and not the result.
CHUNK = 512

Fitness = Callable[[Variables, Target], tuple[Tensor, Tensor]]


def population_evaluator(cost: Cost, population: int) -> Fitness:
    """Return ``evaluate(x, target) -> (fitness, matching losses)``, both ``[n, population]``.

    The candidates ``x`` are ``[n, population, ...]``; those of an element share its labels and observation, which are
    not copied.
    """
    inner = vmap(cost, in_dims=(0, None, None, None, None))
    outer = vmap(inner, chunk_size=max(1, CHUNK // population))

    def evaluate(x: Variables, target: Target) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            losses: tuple[Tensor, Tensor] = outer(x, *target.tensors())
        return losses

    return evaluate


def evolve(
    evaluate: Callable[[Variables], tuple[Tensor, Tensor]],
    optimizer: CMAES,
    iterations: int,
    state: State,
    seed: tuple[object, ...],
    pause: Callable[[State], None],
) -> State:
    """Run `iterations` generations from `state` on: draw, evaluate, keep, adapt.

    The search is led by the fitness, the best candidate is kept by the matching loss, as everywhere. A
    generation's draws depend on (seed, generation, element) alone, so that a resumed search draws the same.

    Args:
        evaluate: maps candidates ``[n, population, ...]`` to (fitness, matching losses) ``[n, population]``.
        optimizer: its memory is in ``state.memory``.
        iterations: generations.
        state: `x` holds each element's best candidate of the last generation.
        seed: names that the draws come from.
        pause: called between generations; may save and leave.
    """
    every = max(1, iterations // TRACE_POINTS)
    first, n = state.iteration, len(state.best_loss)
    for iteration in track(range(first, iterations), iterations, "attack", first):
        state.iteration = iteration
        pause(state)
        seeds = [seed_for(*seed, "generation", iteration, element) for element in range(n)]
        searches = [
            optimizer.restore(state.memory, element, seeds[element] % 2**32) for element in range(n)
        ]
        drawn = np.array(
            [[search.ask() for _ in range(optimizer.population)] for search in searches]
        )
        candidates = _shape(drawn, state.x)
        fitness, matching = evaluate(candidates)
        matching = matching.nan_to_num(torch.inf, torch.inf)
        state.x, least = _least(candidates, matching)
        keep_best(state, least)
        for search, points, values in zip(searches, drawn, _ranked(fitness), strict=True):
            search.tell(list(zip(points, values, strict=True)))
        state.memory = pack(searches)
        if iteration % every == 0 or iteration == iterations - 1:
            state.trace.append((iteration, least))
    return state


def _shape(drawn: np.ndarray, like: Variables) -> Variables:
    """Turn drawn rows ``[n, population, d]`` into candidates ``[n, population, ...]``."""
    n, population, _ = drawn.shape
    rows = torch.from_numpy(drawn).to(next(iter(like.values())))
    wide = {name: value.repeat_interleave(population, 0) for name, value in like.items()}
    flat = unflatten(rows.flatten(0, 1), wide)
    return {name: value.unflatten(0, (n, population)) for name, value in flat.items()}


def _least(candidates: Variables, matching: Tensor) -> tuple[Variables, Tensor]:
    """Return each element's candidate with the least matching loss, and that loss ``[n]``."""
    least, place = matching.min(1)
    rows = torch.arange(len(place), device=place.device)
    return {name: value[rows, place] for name, value in candidates.items()}, least


def _ranked(fitness: Tensor) -> list[list[float]]:
    """Return fitness values; what is not finite ranks last."""
    values: list[list[float]] = fitness.double().nan_to_num(torch.inf, torch.inf).tolist()
    return values
