"""The product as a study runs it: the engine that a study of a hundred cells chooses, and all that this choice costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from benchmarks.clocks import Clock
from gradsiege.attacks.engine.autotune import EngineChoice, EnginePolicy, choose
from gradsiege.attacks.engine.chunks import Chunked
from gradsiege.attacks.engine.engines import engine
from gradsiege.attacks.engine.loop import begin, optimise
from gradsiege.attacks.engine.objective import Evaluate, Problem, Target
from gradsiege.attacks.variables import Variables
from gradsiege.programs import Programs

CELLS = 100


@dataclass(frozen=True)
class Product:
    """The engine that a study chooses, and what it costs beside the iterations.

    Attributes:
        setup: seconds of choosing, once per study, with the compilation if there is one.
        opening: seconds from a problem to an engine that is ready, once per cell: tracing, and loading a program.
    """

    choice: EngineChoice
    evaluate: Evaluate
    setup: float
    opening: float

    def amortised(
        self, evaluation: float, iterations: int, victims: int, cells: int = CELLS
    ) -> float:
        """Return the seconds per victim and iteration of a whole study, whose evaluations take so many seconds each.

        An attack evaluates its last iterate, too.
        """
        cell = self.opening + (iterations + 1) * evaluation
        return (self.setup + cells * cell) / (cells * iterations * victims)


def product(
    problem: Problem, x: Variables, target: Target, programs: Programs, clock: Clock
) -> Product:
    """Choose an engine as a study does, then open it as a later cell does."""
    start = clock()
    choice = choose(EnginePolicy(runs=CELLS, programs=programs), problem, x, target)
    setup = clock() - start
    start = clock()
    evaluate = Chunked(engine(choice.engine, problem, programs), choice.chunk)
    evaluate(x, target)
    return Product(choice, evaluate, setup, clock() - start)


def attack(
    problem: Problem,
    evaluate: Evaluate,
    x: Variables,
    target: Target,
    iterations: int,
    watch: Callable[[Tensor], None] = lambda x: None,
) -> None:
    """Run the product's loop; `watch` sees the normalised pixels of all victims before every evaluation."""
    optimizer: Any = problem.phase.optimizer

    def at(x: Variables, iteration: int) -> tuple[Variables, Tensor]:
        watch(x["x"])
        return evaluate(x, target)

    def settle(x: Variables, iteration: int) -> Variables:
        projected: Variables = space.project(x)
        return projected

    space: Any = problem.phase.space
    optimise(at, settle, optimizer, iterations, begin(x, optimizer), lambda state: None)
