"""Which engine, and how many elements at once: measured on the machine, for the work at hand.

The work is that of the whole study: all iterations of cells that share a network, a width and an objective. The plain loop is
timed first. An engine that costs seconds to load, or a minute to compile, is tried only if the work is long enough to win them
back. All that are tried take turns until it is clear that one is slower, and medians are compared. Among engines that differ by no more than the noise, the first
of `PREFERRED` is taken. The choice is kept per problem and device, recorded beside the result, and a resumed run keeps the one
that it began with, since engines differ in rounding.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from gradsiege.attacks.engine import factored
from gradsiege.attacks.engine.chunks import Chunked, elements_that_fit, part
from gradsiege.attacks.engine.engines import ENGINES, engine, loop
from gradsiege.attacks.engine.objective import Evaluate, Problem, Target
from gradsiege.attacks.variables import Variables
from gradsiege.errors import GradSiegeError, UsageError
from gradsiege.programs import Programs

MEASURED = "measured"
FIXED = "fixed"  # without a measurement, so the same on every run
# The engine with the fewest surprises first.
PREFERRED = ("loop", "factored", "vmap", "cuda_graph", "cuda_graph_vmap", "compiled")
# Seconds of the work with the best engine so far, above which it is worth to time others at all, to load the transforms of
# `torch.func`, and to compile.
SECONDS_WORTH_MEASURING = 4.0
SECONDS_WORTH_VECTORISING = 20.0
SECONDS_WORTH_COMPILING = 240.0
# Engines are timed on so many elements of a CPU, where the time of an element hardly depends on their number.
ELEMENTS = 8
ROUNDS = 5
# After so many rounds, an engine whose shortest time is above another's longest is slower, however noisy the machine.
ROUNDS_TO_DROP_OUT = 2
# Differences below this share of the time are noise, on any machine.
NOISE = 0.05


@dataclass(frozen=True)
class EngineChoice:
    """An engine, and how many elements it takes at once; for the record, what was measured.

    Attributes:
        seconds: per evaluation of an element, for every engine that was measured; the median.
        first: of the first evaluation of all that were timed, which pays for whatever the engine loads, records or compiles.
        spread: of the seconds, as a share of the median.
        failed: why an engine could not run this problem.
    """

    engine: str
    chunk: int
    seconds: dict[str, float] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    spread: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EnginePolicy:
    """How engines are chosen.

    Attributes:
        engine: ``measured``; ``fixed``, which is ``factored`` where it applies and else ``loop``; or the name of one.
        recall, remember: look up an earlier choice by the problem's signature, and keep a new one.
        runs: how often the study runs an attack like this one, which share what is loaded and compiled.
        programs: where compiled programs are kept; without it, none is compiled unless ``compiled`` is asked for.
    """

    engine: str = MEASURED
    recall: Callable[[str], EngineChoice | None] = lambda name: None
    remember: Callable[[str, EngineChoice], None] = lambda name, choice: None
    runs: int = 1
    programs: Programs | None = None

    def __post_init__(self) -> None:
        words = (MEASURED, *ENGINES, FIXED)
        if self.engine not in words:
            raise UsageError(f"unknown engine {self.engine!r}; choose one of {', '.join(words)}")


def choose(policy: EnginePolicy, problem: Problem, x: Variables, target: Target) -> EngineChoice:
    """Return the choice for a problem with these elements."""
    device = target.labels.device
    n = len(target.labels)
    if policy.engine != MEASURED:
        name = _fixed(problem, x, target) if policy.engine == FIXED else policy.engine
        return EngineChoice(name, elements_that_fit(loop(problem), x, target))
    evaluations = n * (problem.phase.iterations + 1) * policy.runs
    name = signature(problem, n, device, x, evaluations)
    earlier = policy.recall(name)
    if earlier is not None:
        return earlier
    choice = measure(problem, x, target, evaluations, policy.programs)
    policy.remember(name, choice)
    # Of two processes that measured at once, one was first.
    return policy.recall(name) or choice


def _fixed(problem: Problem, x: Variables, target: Target) -> str:
    """Return ``factored`` where it applies and knows every operation of the network, else ``loop``; nothing is timed."""
    if not factored.applies(problem):
        return "loop"
    try:
        factored.factored(problem)(*part(x, target, 0, 1))
    except RuntimeError:
        return "loop"
    return "factored"


def signature(
    problem: Problem, elements: int, device: torch.device, x: Variables, evaluations: int
) -> str:
    """Return a name for everything that decides which engine is fastest."""
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    facts: dict[str, Any] = {
        "model": problem.observation.model.describe(),
        "elements": elements,
        "evaluations": evaluations,
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


def measure(
    problem: Problem,
    x: Variables,
    target: Target,
    evaluations: int,
    programs: Programs | None = None,
) -> EngineChoice:
    """Time the engines that so many evaluations of an element may pay for, and choose one.

    An engine that fails (out of memory, an operation it has no rule for) is left out, and its reason recorded.

    Raises:
        GradSiegeError: no engine can run the problem.
    """
    fitting = elements_that_fit(loop(problem), x, target)
    timed = Timed(problem, x, target, fitting, programs)
    timed.try_engine("loop")
    if timed.left(evaluations) > SECONDS_WORTH_MEASURING:
        if factored.applies(problem):
            timed.try_engine("factored")
        timed.take_turns()
    on_gpu = target.labels.is_cuda
    if timed.left(evaluations) > SECONDS_WORTH_VECTORISING:
        graphs = ("cuda_graph",) if factored.applies(problem) else ()
        for name in ("vmap", *graphs, "cuda_graph_vmap") if on_gpu else ("vmap",):
            timed.try_engine(name)
        timed.take_turns()
    if programs is not None and timed.left(evaluations) > SECONDS_WORTH_COMPILING:
        timed.try_engine("compiled")
        timed.take_turns()
    return timed.choice()


class Timed:
    """Engines on the clock, on the first few elements of a problem."""

    def __init__(
        self,
        problem: Problem,
        x: Variables,
        target: Target,
        fitting: int,
        programs: Programs | None,
    ) -> None:
        self.problem, self.fitting, self.programs = problem, fitting, programs
        elements = min(fitting, len(target.labels))
        self.elements = elements if target.labels.is_cuda else min(elements, ELEMENTS)
        self.inputs = part(x, target, 0, self.elements)
        self.engines: dict[str, Chunked] = {}
        self.first: dict[str, float] = {}
        self.taken: dict[str, list[float]] = {}
        self.failed: dict[str, str] = {}
        self.slower: set[str] = set()

    def try_engine(self, name: str) -> None:
        """Run an engine for the first time."""
        evaluate = Chunked(engine(name, self.problem, self.programs), self.elements)
        try:
            self.first[name] = clock(evaluate, *self.inputs)
        except RuntimeError as error:
            self.failed[name] = str(error)
            return
        self.engines[name] = evaluate

    def take_turns(self) -> None:
        """Time engines, one after the other in every round, so that a busy moment meets all; what is clearly slower drops out."""
        running = [name for name in self.engines if name not in self.slower]
        self.taken |= {name: [] for name in running}
        for _ in range(ROUNDS):
            for name in running:
                self.taken[name].append(clock(self.engines[name], *self.inputs))
            if min(len(self.taken[name]) for name in running) >= ROUNDS_TO_DROP_OUT:
                longest = min(max(self.taken[name]) for name in running)
                self.slower |= {name for name in running if min(self.taken[name]) > longest}
                running = [name for name in running if name not in self.slower]

    def seconds(self) -> dict[str, float]:
        """Return the median of each engine, per element; a first evaluation stands for an engine that had no turn."""
        return {
            name: statistics.median(self.taken.get(name) or [self.first[name]]) / self.elements
            for name in self.engines
        }

    def left(self, evaluations: int) -> float:
        """Return the seconds of so many evaluations by the fastest engine so far, infinity if there is none."""
        return evaluations * min(self.seconds().values(), default=math.inf)

    def choice(self) -> EngineChoice:
        """Return the first of the preferred engines that is as fast as the fastest, but for noise."""
        seconds = self.seconds()
        if not seconds:
            raise GradSiegeError(f"no engine can run this attack: {self.failed}")
        best = min(seconds, key=lambda name: seconds[name])
        spread = {name: _spread(taken) for name, taken in self.taken.items()}
        margin = 1 + max(NOISE, spread.get(best, 0.0))
        chosen = next(
            name
            for name in PREFERRED
            if name in seconds and seconds[name] <= margin * seconds[best]
        )
        # A program is made for the number of elements that were timed.
        chunk = self.engines[chosen].size if chosen == "compiled" else self.fitting
        return EngineChoice(chosen, chunk, seconds, self.first, spread, self.failed)


def _spread(taken: list[float]) -> float:
    """Return half of the distance between the quartiles, as a share of the median."""
    low, middle, high = statistics.quantiles(taken, n=4, method="inclusive")
    return (high - low) / 2 / middle


def clock(evaluate: Evaluate, x: Variables, target: Target) -> float:
    """Return the seconds of an evaluation."""
    wait: Callable[[], None] = torch.cuda.synchronize if target.labels.is_cuda else (lambda: None)
    wait()
    begin = time.perf_counter()
    evaluate(x, target)
    wait()
    return time.perf_counter() - begin
