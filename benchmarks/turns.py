"""Turns of gradsiege and `breaching`: what an iteration of each takes, and the candidates that each goes through."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks import breaching
from benchmarks.cases import Case
from benchmarks.clocks import Clock, wait
from benchmarks.product import Product, attack
from gradsiege.attacks.engine.chunks import part
from gradsiege.attacks.engine.objective import Problem, Target
from gradsiege.attacks.variables import Variables

# Iterations of a timed turn, and turns.
TURN, TURNS = 4, 5


def turns(
    case: Case,
    problem: Problem,
    x: Variables,
    target: Target,
    ours: Product,
    theirs: breaching.Breaching,
    device: str,
    clock: Clock,
) -> dict[str, float]:
    """Return the median seconds per victim and iteration of both, which take turns.

    Theirs are the difference between a long and a short attack on one victim, so that its set-up counts for nothing.
    """

    def timed(run: Callable[[], None]) -> float:
        wait(device)
        start = clock()
        run()
        wait(device)
        return clock() - start

    def their_run(victim: int, iterations: int) -> float:
        return timed(lambda: theirs.reconstruct(victim, x["x"][victim], iterations, None))

    taken: dict[str, list[float]] = {"breaching": [], "gradsiege": []}
    their_run(0, 1)
    for turn in range(TURNS):
        victim = turn % case.victims
        long, short = their_run(victim, 2 + 4 * TURN), their_run(victim, 2)
        taken["breaching"].append((long - short) / (4 * TURN))
        run = partial(attack, problem, ours.evaluate, x, target, TURN)
        taken["gradsiege"].append(timed(run) / ((TURN + 1) * case.victims))
    return {name: statistics.median(values) for name, values in taken.items()}


def our_path(
    ours: Product, problem: Problem, x: Variables, target: Target, iterations: int, followed: int
) -> list[Tensor]:
    """Return the candidates of the first victims, iteration by iteration; what they are does not depend on the others."""
    path: list[Tensor] = []
    few = part(x, target, 0, followed)
    attack(problem, ours.evaluate, *few, iterations, path.append)
    return path


def their_path(theirs: breaching.Breaching, starts: Tensor, iterations: int) -> list[Tensor]:
    """Return the candidates of all victims, iteration by iteration."""
    paths: list[list[Tensor]] = []
    for victim, start in enumerate(starts):
        path: list[Tensor] = []
        theirs.reconstruct(victim, start, iterations, path.append)
        # The score at the end looks at the best candidate once more.
        paths.append(path[:iterations])
    return [torch.stack(step) for step in zip(*paths, strict=True)]
