"""Compiled programs: equal to the plain loop, compiled once for all weights and data, refused where they are wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from problems import assert_same, case
from torch import Tensor

from gradsiege import programs as kept_programs
from gradsiege.attacks.counters.noise import GaussianLikelihood
from gradsiege.attacks.engine.autotune import EnginePolicy, choose
from gradsiege.attacks.engine.compiled import close, filled, traced
from gradsiege.attacks.engine.engines import ENGINES, engine
from gradsiege.attacks.engine.objective import Problem, Target
from gradsiege.attacks.objectives.regularizers import Candidate
from gradsiege.programs import Programs
from gradsiege.protocol.local_update import Tensors

TRACED = """
from problems import case
from gradsiege.attacks.engine.compiled import traced
print(traced(*case("lenet", images=1, elements=2)).name())
"""


def other_weights(problem: Problem) -> Problem:
    moved = {name: value + 0.01 for name, value in problem.observation.parameters.items()}
    return replace(problem, observation=replace(problem.observation, parameters=moved))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """Programs with one for two elements of a LeNet."""
    programs = Programs(tmp_path_factory.mktemp("programs"))
    problem, x, target = case("lenet", images=1, elements=2)
    gradients, _ = engine("compiled", problem, programs)(x, target)
    # A compiled double gradient has come back as None without an error; this one is finite, and not zero.
    assert gradients["x"].isfinite().all()
    assert gradients["x"].abs().sum() > 0
    return programs


@pytest.mark.parametrize("elements", [2, 5])
def test_one_program_serves_other_weights_and_other_elements(
    kept: Programs, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The elements come in twos; the fifth is evaluated beside a copy of itself."""

    def never(*_: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(kept_programs, "compile_graph", never)
    problem, x, target = case("lenet", images=1, elements=elements)
    problem = other_weights(problem)
    from gradsiege.attacks.engine.chunks import Chunked

    found = Chunked(engine("compiled", problem, kept), 2)(x, target)
    assert_same(found, ENGINES["loop"](problem)(x, target), 1e-6)


def test_the_name_of_a_program_is_that_of_what_it_computes() -> None:
    """Other weights and numbers do not change it; another objective, another width and another number of threads do."""
    problem, x, target = case("lenet", images=1, elements=2)
    name = traced(problem, x, target).name()
    assert traced(other_weights(problem), x, target).name() == name
    phase = problem.phase
    doubled = tuple((2 * weight, term) for weight, term in phase.regularizers)
    assert doubled
    heavier = replace(problem, phase=replace(phase, regularizers=doubled))
    assert traced(heavier, x, target).name() == name
    twice = (*phase.regularizers, *phase.regularizers)
    others = [
        traced(replace(problem, phase=replace(phase, regularizers=twice)), x, target),
        traced(*case("lenet", images=1, elements=3)),
        traced(*case("lenet", images=2, elements=2)),
    ]
    assert len({name, *(other.name() for other in others)}) == 4
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        assert traced(problem, x, target).name() != name
    finally:
        torch.set_num_threads(threads)


def test_a_graph_from_shapes_is_the_graph_from_real_tensors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Operation by operation, and with the same constants: also one that the objective makes from numbers."""
    from torch.fx.experimental import proxy_tensor

    problem, x, target = case("lenet", images=1, elements=2)
    held = torch.rand(16, 16, dtype=torch.float64)

    def tinted(candidate: Candidate) -> Tensor:
        tint = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)[:, None, None]
        return (candidate.images * tint * held).sum()

    problem = replace(problem, phase=replace(problem.phase, regularizers=((1.0, tinted),)))
    ours = traced(problem, x, target)
    plain = proxy_tensor.make_fx
    monkeypatch.setattr(proxy_tensor, "make_fx", lambda function, **options: plain(function))
    real = traced(problem, x, target)
    assert ours.graph.code == real.graph.code
    assert any(torch.equal(value, held) for value in ours.constants)
    for mine, theirs in zip(ours.constants, real.constants, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("seed", ["1", "2"])
def test_another_process_finds_the_same_name(seed: str) -> None:
    environment = os.environ | {
        "PYTHONHASHSEED": seed,
        # A program is made for a number of threads.
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    said = subprocess.run(
        [sys.executable, "-c", TRACED], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == traced(*case("lenet", images=1, elements=2)).name()


def test_tensors_that_an_objective_holds_are_inputs() -> None:
    """A constant of the objective may differ from cell to cell, and the program is the same."""
    problem, x, target = case("lenet", images=1, elements=2)

    def weighted(weight: Tensor) -> Problem:
        def distance(candidate: Tensors, observed: Tensors) -> Tensor:
            first = next(iter(observed))
            return (weight * (candidate[first] - observed[first]).square()).sum()

        return replace(problem, phase=replace(problem.phase, distance=distance))

    some = next(iter(target.observed.values()))[0]
    one, other = (traced(weighted(torch.full_like(some, w)), x, target) for w in (1.0, 2.0))
    assert one.name() == other.name()
    assert any(torch.equal(value, torch.full_like(some, 2.0)) for value in other.constants)
    run = [trace.graph(*trace.inputs)[-1] for trace in (one, other)]
    torch.testing.assert_close(2 * run[0], run[1])


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_numbers_of_an_objective_are_inputs(
    tmp_path: Path, kind: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deviation of a noise is estimated from each update: one program serves all, to the precision of its type."""
    problem, x, target = case("lenet", images=1, elements=2, kind=kind)
    programs = Programs(tmp_path)

    def believing(deviation: float) -> Problem:
        phase = replace(problem.phase, distance=GaussianLikelihood(deviation))
        return replace(problem, phase=phase)

    engine("compiled", believing(0.3), programs)(x, target)

    def never(*_: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(kept_programs, "compile_graph", never)
    found = engine("compiled", believing(0.0123), programs)(x, target)
    expected = ENGINES["loop"](believing(0.0123))(x, target)
    assert found[0]["x"].dtype == expected[0]["x"].dtype == kind
    gap = (found[0]["x"] - expected[0]["x"]).norm() / expected[0]["x"].norm()
    assert gap < (1e-5 if kind == torch.float32 else 1e-12)
    torch.testing.assert_close(found[1], expected[1])


def test_a_program_that_computes_something_else_is_refused(
    kept: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, x, target = case("lenet", images=1, elements=2)
    name = traced(problem, x, target).name()
    turned = tuple(
        (100 * weight, lambda candidate, term=term: term(candidate).neg())
        for weight, term in problem.phase.regularizers
    )
    changed = replace(problem, phase=replace(problem.phase, regularizers=turned))
    monkeypatch.setattr(kept_programs, "name", lambda graph, inputs: name)
    with pytest.raises(RuntimeError, match="disagrees with the plain loop"):
        engine("compiled", changed, kept)(x, target)


def test_an_objective_that_draws_random_numbers_is_not_compiled() -> None:
    problem, x, target = case("lenet", images=1, elements=2)

    def noisy(candidate: Candidate) -> Tensor:
        return (candidate.images * torch.rand(1)).sum()

    phase = replace(problem.phase, regularizers=((1.0, noisy),))
    with pytest.raises(RuntimeError, match="random"):
        traced(replace(problem, phase=phase), x, target)


def test_a_compilation_that_is_killed_leaves_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch._inductor

    def dying(exported: object, package_path: str) -> None:
        Path(package_path).write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", dying)
    problem, x, target = case("lenet", images=1, elements=2)
    with pytest.raises(KeyboardInterrupt):
        engine("compiled", problem, Programs(tmp_path))(x, target)
    trace = traced(problem, x, target)
    assert not (tmp_path / f"{trace.name()}.pt2").exists()


def test_an_attack_goes_on_without_a_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch._inductor

    def refusing(exported: object, package_path: str) -> None:
        raise ValueError("planted")

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", refusing)
    policy = EnginePolicy(runs=10**9, programs=Programs(tmp_path))
    choice = choose(policy, *case("lenet", images=1, elements=2))
    assert choice.failed == {"compiled": "not compiled: ValueError: planted"}
    assert choice.engine != "compiled"


def test_elements_are_filled_up_with_the_last() -> None:
    _, x, target = case("lenet", images=1, elements=2)
    more, there = filled(x, target, 4)
    assert torch.equal(more["x"], x["x"][[0, 1, 1, 1]])
    assert isinstance(there, Target)
    assert torch.equal(there.labels, target.labels[[0, 1, 1, 1]])
    assert close(torch.zeros(2), torch.tensor([torch.nan, 0.0]))
