"""One evaluation of all elements by a program that was compiled ahead of time.

A `Problem` is traced to a graph of tensor operations whose inputs are all tensors that it uses: variables, target, weights and
whatever constants and numbers its objective holds. Problems that differ in weights and data alone share one program (`gradsiege.programs`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from gradsiege.attacks.engine.objective import Evaluation, Problem, Target, element_cost
from gradsiege.attacks.variables import Variables
from gradsiege.programs import Programs, name

# How far a program may be from the plain loop before it is refused: rounding is far below, another function far above.
AGREEMENT = 1e-2
CHECKED = 2

Batched = Callable[..., Evaluation]

# Operations with a number among their arguments; a tensor without dimensions in its place changes no type of a result.
CALCULATIONS = {
    torch.ops.aten._to_copy.default,
    torch.ops.aten.add.Tensor,
    torch.ops.aten.sub.Tensor,
    torch.ops.aten.mul.Tensor,
    torch.ops.aten.div.Tensor,
}


@dataclass(frozen=True)
class Trace:
    """The graph of an evaluation, and the tensors that it takes beside variables and target.

    Attributes:
        graph: operations on a flat list of tensors.
        inputs: example tensors, with which it was traced.
        constants: the last inputs, tensors and numbers that the objective holds.
    """

    graph: torch.fx.GraphModule
    inputs: list[Tensor]
    constants: list[Tensor]

    def name(self) -> str:
        """Return a hash of what the graph computes and of the machine that runs it."""
        return name(self.graph, self.inputs)


class Compiled:
    """An engine of compiled programs, one for every number of elements; the last, smaller chunk is filled up.

    Raises:
        RuntimeError: the objective draws random numbers, or a program disagrees with the plain loop.
    """

    def __init__(
        self, problem: Problem, reference: Callable[..., Evaluation], programs: Programs | None
    ) -> None:
        self.problem = problem
        self.reference = reference
        self.programs = programs
        self.loaded: dict[int, Batched] = {}

    def __call__(self, x: Variables, target: Target) -> Evaluation:
        """Evaluate all elements."""
        n = len(target.labels)
        # A program for twice as many elements costs less than another compilation.
        size = min((size for size in self.loaded if n <= size <= 2 * n), default=n)
        if size not in self.loaded:
            self.loaded[size] = self._program(x, target)
        if size > n:
            x, target = filled(x, target, size)
        gradients, matching = self.loaded[size](x, target)
        return {name: value[:n] for name, value in gradients.items()}, matching[:n]

    def _program(self, x: Variables, target: Target) -> Batched:
        trace = traced(self.problem, x, target)
        if self.programs is not None:
            program = self.programs.find(trace.graph, trace.inputs)
        else:
            with tempfile.TemporaryDirectory() as folder:
                program = Programs(Path(folder)).find(trace.graph, trace.inputs)
        observation = self.problem.observation
        weights = [*observation.parameters.values(), *observation.buffers.values()]
        rest = [value.contiguous() for value in (*weights, *trace.constants)]

        def run(x: Variables, target: Target) -> Evaluation:
            *gradients, matching = program(*_flat(x, target), *rest)
            return dict(zip(x, gradients, strict=True)), matching

        self._check(run, x, target)
        return run

    def _check(self, run: Batched, x: Variables, target: Target) -> None:
        """Compare a program with the plain loop on a few elements."""
        few = slice(0, CHECKED)
        part = Target(
            target.labels[few],
            {name: value[few] for name, value in target.observed.items()},
            target.consensus[few],
            {name: value[few] for name, value in target.statistics.items()},
        )
        expected, losses = self.reference({name: value[few] for name, value in x.items()}, part)
        gradients, matching = run(x, target)
        pairs = [(gradients[name][few], value) for name, value in expected.items()]
        for ours, theirs in [*pairs, (matching[few], losses)]:
            if not close(ours, theirs):
                raise RuntimeError("the compiled program disagrees with the plain loop")


def traced(problem: Problem, x: Variables, target: Target) -> Trace:
    """Trace an evaluation of these elements; numbers, Python's branches and shapes become part of the graph.

    Raises:
        RuntimeError: the objective draws random numbers, which a graph would draw from another generator.
    """
    from torch.func import grad_and_value, vmap
    from torch.fx.experimental.proxy_tensor import make_fx

    observation = problem.observation
    state = (observation.parameters, observation.buffers)
    inputs = (x, target.labels, target.observed, target.consensus, target.statistics, *state)
    flat, structure = pytree.tree_flatten(inputs)

    def evaluate(*tensors: Tensor) -> list[Tensor]:
        *elements, parameters, buffers = pytree.tree_unflatten(list(tensors), structure)
        there = replace(observation, parameters=parameters, buffers=buffers)
        cost = element_cost(replace(problem, observation=there))
        gradients, (_, matching) = vmap(grad_and_value(cost, has_aux=True))(*elements)
        return [*gradients.values(), matching]

    flat = [value.detach().contiguous() for value in flat]
    # Shapes are enough. From real tensors the recorder computes everything once, and imitates every result in a mode of its
    # own, which notes the Python stack: half of the time. Tensors that the objective holds stay real, to become inputs.
    graph = make_fx(evaluate, tracing_mode="fake", _allow_non_fake_inputs=True)(*flat)
    for node in graph.graph.nodes:
        if isinstance(node.target, torch._ops.OpOverload) and (
            torch.Tag.nondeterministic_seeded in node.target.tags
        ):
            raise RuntimeError(f"the objective draws random numbers ({node.target})")
    constants = _lifted(graph)
    return Trace(graph, [*flat, *constants], constants)


def _lifted(graph: torch.fx.GraphModule) -> list[Tensor]:
    """Turn the tensors that a graph holds, and the numbers it calculates with, into further inputs; return them.

    A number, such as a noise's estimated deviation, would otherwise make one more program of every victim's.
    """
    nodes = list(graph.graph.nodes)
    held = [node for node in nodes if node.op == "get_attr"]
    places: list[torch.fx.Node] = [node for node in nodes if node.op == "placeholder"]
    constants: list[Tensor] = []

    def place(value: Tensor) -> torch.fx.Node:
        constants.append(value)
        with graph.graph.inserting_after(places[-1]):
            places.append(graph.graph.placeholder(f"constant_{len(constants) - 1}"))
        return places[-1]

    for node in held:
        node.replace_all_uses_with(place(getattr(graph, node.target).detach().contiguous()))
        graph.graph.erase_node(node)
    for attribute in {str(node.target) for node in held}:
        delattr(graph, attribute)
    device = places[0].meta["val"].device
    for node in nodes:
        if node.target in CALCULATIONS:
            for position, number in enumerate(node.args):
                if isinstance(number, float):
                    value = torch.tensor(number, dtype=torch.float64, device=device)
                    node.update_arg(position, place(value))
    graph.recompile()
    return constants


def filled(x: Variables, target: Target, size: int) -> tuple[Variables, Target]:
    """Repeat the last element until there are `size`."""
    index = torch.arange(size, device=target.labels.device).clamp(max=len(target.labels) - 1)

    def every(values: Variables) -> Variables:
        return {name: value[index] for name, value in values.items()}

    return every(x), Target(
        target.labels[index],
        every(target.observed),
        target.consensus[index],
        every(target.statistics),
    )


def close(ours: Tensor, theirs: Tensor) -> bool:
    """Whether two results of one function differ by rounding alone; what is not finite says nothing.

    >>> close(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0001])), close(torch.tensor([1.0]), torch.tensor([2.0]))
    (True, False)
    """
    if not theirs.isfinite().all():
        return True
    return bool((ours - theirs).norm() <= AGREEMENT * theirs.norm() + 1e-6)


def _flat(x: Variables, target: Target) -> list[Tensor]:
    values = (*x.values(), target.labels, *target.observed.values())
    values = (*values, target.consensus, *target.statistics.values())
    return [value.contiguous() for value in values]
