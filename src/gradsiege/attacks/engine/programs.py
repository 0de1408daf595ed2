"""One evaluation of all elements, compiled ahead of time: later processes load the program and not the compiler's work.

A `Problem` is traced to a graph of tensor operations whose inputs are all tensors that it uses: variables, target, weights and
whatever constants its objective holds. The graph says all that the program computes, so that its text, the shapes of its inputs
and the machine name the file. Problems that differ in weights and data alone share one program.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from gradsiege.attacks.engine.objective import Evaluation, Problem, Target, element_cost
from gradsiege.attacks.variables import Variables

# How far a program may be from the plain loop before it is refused: rounding is far below, another function far above.
AGREEMENT = 1e-2
CHECKED = 2

Batched = Callable[..., Evaluation]


@dataclass(frozen=True)
class Programs:
    """Programs that were compiled before, one file each; deleting the folder compiles them anew."""

    folder: Path

    def find(self, trace: Trace) -> Callable[..., Any]:
        """Return the program of a trace, compiled now if it is not there; of several processes, one compiles it."""
        path = self.folder / f"{trace.name()}.pt2"
        with self._locked(path.with_suffix(".lock")):
            if not path.exists():
                trace.compile(path, self.folder / "compiler")
        from torch._inductor import aoti_load_package

        program: Callable[..., Any] = aoti_load_package(str(path), run_single_threaded=True)
        return program

    @contextlib.contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        """Wait for another process that compiles the same program."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@dataclass(frozen=True)
class Trace:
    """The graph of an evaluation, and the tensors that it takes beside variables and target.

    Attributes:
        graph: operations on a flat list of tensors.
        inputs: example tensors, with which it was traced.
        constants: the last inputs, which the objective holds.
    """

    graph: torch.fx.GraphModule
    inputs: list[Tensor]
    constants: list[Tensor]

    def name(self) -> str:
        """Return a hash of what the program computes and of the machine that runs it."""
        shapes = [(tuple(value.shape), str(value.dtype)) for value in self.inputs]
        text = f"{self.graph.code}\n{shapes}\n{_machine(self.inputs[0].device)}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def compile(self, path: Path, cache: Path) -> None:
        """Compile the graph into a file, which appears whole or not at all."""
        from torch._inductor import aoti_compile_and_package

        module = _Flat(self.graph)
        part = path.with_suffix(f".{os.getpid()}.part.pt2")
        with _compiler_cache(cache):
            exported = torch.export.export(module, tuple(self.inputs), strict=False)
            aoti_compile_and_package(exported, package_path=str(part))
        part.replace(path)


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
            program = self.programs.find(trace)
        else:
            with tempfile.TemporaryDirectory() as folder:
                program = Programs(Path(folder)).find(trace)
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
    graph = make_fx(evaluate)(*flat)
    for node in graph.graph.nodes:
        if isinstance(node.target, torch._ops.OpOverload) and (
            torch.Tag.nondeterministic_seeded in node.target.tags
        ):
            raise RuntimeError(f"the objective draws random numbers ({node.target})")
    constants = _lifted(graph)
    return Trace(graph, [*flat, *constants], constants)


def _lifted(graph: torch.fx.GraphModule) -> list[Tensor]:
    """Turn the tensors that a graph holds into further inputs, and return them."""
    held = [node for node in graph.graph.nodes if node.op == "get_attr"]
    places = [node for node in graph.graph.nodes if node.op == "placeholder"]
    constants = []
    for number, node in enumerate(held):
        constants.append(getattr(graph, node.target).detach().contiguous())
        with graph.graph.inserting_after(places[-1]):
            places.append(graph.graph.placeholder(f"constant_{number}"))
        node.replace_all_uses_with(places[-1])
        graph.graph.erase_node(node)
    for name in {str(node.target) for node in held}:
        delattr(graph, name)
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


class _Flat(torch.nn.Module):
    """A graph as a module that returns a tuple, as the exporter wants it."""

    def __init__(self, graph: torch.fx.GraphModule) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.graph(*tensors))


def _flat(x: Variables, target: Target) -> list[Tensor]:
    values = (*x.values(), target.labels, *target.observed.values())
    values = (*values, target.consensus, *target.statistics.values())
    return [value.contiguous() for value in values]


def _machine(device: torch.device) -> dict[str, Any]:
    """What a program is made for."""
    if device.type == "cuda":
        return {"device": torch.cuda.get_device_name(device), "torch": torch.__version__}
    lines = (
        Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if Path("/proc/cpuinfo").is_file()
        else []
    )
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return {
        "device": platform.machine(),
        "flags": flags,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


@contextlib.contextmanager
def _compiler_cache(folder: Path) -> Iterator[None]:
    """Let the compiler keep its own files, above all compiled headers, in a folder of ours."""
    name = "TORCHINDUCTOR_CACHE_DIR"
    before = os.environ.get(name)
    os.environ[name] = str(folder.absolute())
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before
