"""Six engines for one evaluation; `autotune` chooses one, by a fixed rule or by measurement.

An engine turns a `Problem` into ``evaluate(x, target) -> (gradients, matching losses)`` over a batch of elements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from gradsiege.attacks.engine import factored
from gradsiege.attacks.engine.compiled import Compiled
from gradsiege.attacks.engine.objective import (
    Cost,
    Evaluate,
    Evaluation,
    Problem,
    Target,
    element_cost,
)
from gradsiege.attacks.variables import Variables
from gradsiege.programs import Programs
from gradsiege.protocol.local_update import gradient
from gradsiege.protocol.observation import stacked

Engine = Callable[[Problem], Evaluate]
WARM_UP = 3


def loop(problem: Problem) -> Evaluate:
    """One element after the other, by autograd: the reference, and often the fastest on wide networks and few cores."""
    cost = element_cost(problem, gradient)

    def element(x: Variables, target: Target, index: int) -> tuple[Variables, Tensor]:
        points = {name: value[index].detach().requires_grad_() for name, value in x.items()}
        total, matching = cost(
            points,
            target.labels[index],
            {name: value[index] for name, value in target.observed.items()},
            target.consensus[index],
            {name: value[index] for name, value in target.statistics.items()},
        )
        gradients = torch.autograd.grad(total, list(points.values()), materialize_grads=True)
        return dict(zip(points, gradients, strict=True)), matching.detach()

    def evaluate(x: Variables, target: Target) -> Evaluation:
        evaluations = [element(x, target, index) for index in range(len(target.labels))]
        return stacked([part for part, _ in evaluations]), torch.stack(
            [part for _, part in evaluations]
        )

    return evaluate


def _vectorised_cost(cost: Cost) -> Callable[..., tuple[Variables, tuple[Tensor, Tensor]]]:
    from torch.func import grad_and_value, vmap

    return vmap(grad_and_value(cost, has_aux=True))


def vectorised(problem: Problem) -> Evaluate:
    """All elements at once by `torch.func.vmap`; weights that differ become grouped convolutions."""
    batched = _vectorised_cost(element_cost(problem))

    def evaluate(x: Variables, target: Target) -> Evaluation:
        gradients, (_, matching) = batched(x, *target.tensors())
        return gradients, matching

    return evaluate


def compiled(problem: Problem, programs: Programs | None = None) -> Evaluate:
    """`vectorised`, compiled ahead of time (`engine.compiled`) and kept, if there is a place for it.

    It is the functional double gradient that is compiled: compiling the network and differentiating twice outside is
    refused by PyTorch, and compiling ``autograd.grad`` has returned no gradient without an error.
    """
    return Compiled(problem, loop(problem), programs)


@dataclass
class Recording:
    """A CUDA graph, the tensors that it reads, and those that it writes."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Variables, Target]
    outputs: Evaluation


class Replayed:
    """An engine recorded into a CUDA graph, once for every number of elements, and replayed from then on."""

    def __init__(self, evaluate: Evaluate) -> None:
        self.evaluate = evaluate
        self.recordings: dict[int, Recording] = {}

    def __call__(self, x: Variables, target: Target) -> Evaluation:
        """Copy the inputs to where the graph reads them, replay, copy the results out."""
        n = len(target.labels)
        if n not in self.recordings:
            self.recordings[n] = self._record(x, target)
        recording = self.recordings[n]
        for recorded, current in zip(_tensors(*recording.inputs), _tensors(x, target), strict=True):
            recorded.copy_(current)
        recording.graph.replay()
        gradients, matching = recording.outputs
        return {name: value.clone() for name, value in gradients.items()}, matching.clone()

    def _record(self, x: Variables, target: Target) -> Recording:
        inputs = (
            {name: value.clone() for name, value in x.items()},
            Target(
                target.labels.clone(),
                {name: value.clone() for name, value in target.observed.items()},
                target.consensus.clone(),
                {name: value.clone() for name, value in target.statistics.items()},
            ),
        )
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self.evaluate(*inputs)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = self.evaluate(*inputs)
        return Recording(graph, inputs, outputs)


def _tensors(x: Variables, target: Target) -> list[Tensor]:
    labels, observed, consensus, statistics = target.tensors()
    return [*x.values(), labels, *observed.values(), consensus, *statistics.values()]


def replayed(problem: Problem, engine: Engine) -> Evaluate:
    """Return another engine, replayed as a CUDA graph."""
    return Replayed(engine(problem))


ENGINES: dict[str, Engine] = {
    "loop": loop,
    "vmap": vectorised,
    "factored": factored.factored,
    "compiled": compiled,
    "cuda_graph": partial(replayed, engine=factored.factored),
    "cuda_graph_vmap": partial(replayed, engine=vectorised),
}


def engine(name: str, problem: Problem, programs: Programs | None = None) -> Evaluate:
    """Return an engine for a problem; `programs` keeps what is compiled."""
    return compiled(problem, programs) if name == "compiled" else ENGINES[name](problem)
