"""Which engine, and how many elements at once: measured on the machine, for the problem at hand.

A measurement is five evaluations of each engine: the first pays for what the engine loads or compiles, the fastest of the others
stands for an iteration; the run's iterations weigh the two. It is cached per network, width, protocol and
device, recorded beside the result, and a resumed run keeps the choice it began with, since engines differ in rounding.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from gradsiege.attacks.engine.chunks import Chunked, elements_that_fit
from gradsiege.attacks.engine.engines import ENGINES, candidates, loop
from gradsiege.attacks.engine.objective import Evaluate, Problem, Target
from gradsiege.attacks.variables import Variables
from gradsiege.errors import GradSiegeError, UsageError

MEASURED = "measured"
# A compiler is tried only when the run would take longer than this with the best engine so far.
SECONDS_WORTH_COMPILING = 1800.0


@dataclass(frozen=True)
class EngineChoice:
    """An engine, and how many elements it takes at once; for the record, what was measured.

    Attributes:
        seconds: per evaluation of all elements, for every engine that was measured.
        first: of its first evaluation, which pays for whatever the engine loads, records or compiles.
        failed: why an engine could not run this problem.
    """

    engine: str
    chunk: int
    seconds: dict[str, float] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EnginePolicy:
    """How engines are chosen.

    Attributes:
        engine: ``measured``, or the name of one.
        recall, remember: look up an earlier choice by the problem's signature, and keep a new one.
    """

    engine: str = MEASURED
    recall: Callable[[str], EngineChoice | None] = lambda name: None
    remember: Callable[[str, EngineChoice], None] = lambda name, choice: None

    def __post_init__(self) -> None:
        if self.engine not in (MEASURED, *ENGINES):
            raise UsageError(
                f"unknown engine {self.engine!r}; choose one of {', '.join([MEASURED, *ENGINES])}"
            )


def choose(policy: EnginePolicy, problem: Problem, x: Variables, target: Target) -> EngineChoice:
    """Return the choice for a problem with these elements."""
    device = target.labels.device
    n = len(target.labels)
    if policy.engine != MEASURED:
        return EngineChoice(policy.engine, elements_that_fit(loop(problem), x, target))
    name = signature(problem, n, device, x)
    earlier = policy.recall(name)
    if earlier is not None:
        return earlier
    found = measure(problem, x, target, candidates(problem, device, compile_too=False))
    if min(found.seconds.values()) * problem.phase.iterations > SECONDS_WORTH_COMPILING:
        found = measure(problem, x, target, candidates(problem, device, compile_too=True))
    policy.remember(name, found)
    return found


def signature(problem: Problem, elements: int, device: torch.device, x: Variables) -> str:
    """Return a name for everything that decides which engine is fastest."""
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    facts: dict[str, Any] = {
        "model": problem.observation.model.describe(),
        "elements": elements,
        "iterations": problem.phase.iterations,
        "work": asdict(problem.work),
        "update_model": problem.phase.update_model,
        "evaluated_at": problem.phase.evaluated_at,
        "space": type(problem.phase.space).__name__,
        "variables": {name: [*value.shape[1:], str(value.dtype)] for name, value in x.items()},
        "distance": type(problem.phase.distance).__name__,
        "device": named,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def measure(problem: Problem, x: Variables, target: Target, names: list[str]) -> EngineChoice:
    """Time the named engines one after the other and return the one that ends this run first.

    An engine that fails (out of memory, an operation it has no rule for) is left out, and its reason recorded.
    """
    first: dict[str, float] = {}
    seconds: dict[str, float] = {}
    sizes: dict[str, int] = {}
    failed: dict[str, str] = {}
    fitting = elements_that_fit(loop(problem), x, target)
    for name in names:
        evaluate = Chunked(ENGINES[name](problem), fitting)
        try:
            first[name], seconds[name] = clock(evaluate, x, target)
        except RuntimeError as error:
            failed[name] = str(error)
        sizes[name] = evaluate.size
    if not seconds:
        raise GradSiegeError(f"no engine can run this attack: {failed}")
    iterations = problem.phase.iterations
    best = min(seconds, key=lambda name: first[name] + iterations * seconds[name])
    return EngineChoice(best, sizes[best], seconds, first, failed)


def clock(
    evaluate: Evaluate, x: Variables, target: Target, repeats: int = 4
) -> tuple[float, float]:
    """Return the seconds of a first evaluation, and the least of `repeats` more."""
    wait: Callable[[], None] = torch.cuda.synchronize if target.labels.is_cuda else (lambda: None)
    taken = []
    for _ in range(repeats + 1):
        wait()
        begin = time.perf_counter()
        evaluate(x, target)
        wait()
        taken.append(time.perf_counter() - begin)
    return taken[0], min(taken[1:])
