"""Engines, their choice, and chunks: the same numbers by every way, and nothing lost when memory is short."""

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from problems import MODELS, assert_same, case
from torch import Tensor

from benchmarks.clocks import operations
from gradsiege.attacks.engine import autotune
from gradsiege.attacks.engine.autotune import EngineChoice, EnginePolicy, choose
from gradsiege.attacks.engine.chunks import Chunked, elements_that_fit
from gradsiege.attacks.engine.engines import ENGINES
from gradsiege.attacks.engine.factored import applies
from gradsiege.attacks.engine.loop import OfIteration, State, begin, optimise
from gradsiege.attacks.engine.objective import Evaluate, Evaluation, Problem, Target, with_surrogate
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import cosine, squared_l2
from gradsiege.attacks.optimizers.gradient import LBFGS, Adam, Optimizer
from gradsiege.attacks.variables import Variables
from gradsiege.errors import GradSiegeError, StudyError, UsageError
from gradsiege.pipeline.engine_memory import EngineMemory
from gradsiege.programs import Programs
from gradsiege.protocol.threat_model import ThreatModel

torch.set_num_threads(1)


@dataclass
class Planted:
    """A clock of engines that do nothing; every second time is too long, by the share `jumps`."""

    seconds: dict[str, float] = field(default_factory=dict)
    jumps: float = 0.0
    calls: Counter[str] = field(default_factory=Counter)
    names: dict[Evaluate, str] = field(default_factory=dict)

    def engine(self, name: str, problem: Problem, programs: Programs | None) -> Evaluate:
        def evaluate(x: Variables, target: Target) -> Evaluation:
            raise AssertionError(name)

        self.names[evaluate] = name
        return evaluate

    def clock(self, evaluate: Chunked, x: Variables, target: Target) -> float:
        name = self.names[evaluate.evaluate]
        self.calls[name] += 1
        return self.seconds[name] * (1 + self.jumps * (1 - self.calls[name] % 2))


@pytest.mark.parametrize("engine", ["vmap", "factored"])
@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_engines_agree_in_both_modes_of_batch_norm(engine: str, name: str, mode: str) -> None:
    problem, x, target = case(name, mode=mode)
    assert_same(ENGINES[engine](problem)(x, target), ENGINES["loop"](problem)(x, target))


@pytest.mark.parametrize("engine", ["vmap", "factored"])
@pytest.mark.parametrize("distance", [cosine, squared_l2])
def test_engines_agree_on_labels_that_are_optimised_too(engine: str, distance: object) -> None:
    problem, x, target = case("convnet", joint=True)
    problem = replace(problem, phase=replace(problem.phase, distance=distance))
    assert_same(ENGINES[engine](problem)(x, target), ENGINES["loop"](problem)(x, target))


@pytest.mark.parametrize("engine", ["loop", "vmap", "factored"])
def test_iterates_are_ranked_by_the_whole_objective_where_the_phase_says_so(engine: str) -> None:
    """The loss grows by exactly the regularizers, and the gradient stays."""
    problem, x, target = case("convnet", images=1)
    gradients, matching = ENGINES[engine](problem)(x, target)
    phase = replace(problem.phase, iterate="least_objective")
    same, objective = ENGINES[engine](replace(problem, phase=phase))(x, target)
    pixels = x["x"][:, 0]
    variation = pixels.diff(dim=-1).abs().mean((1, 2, 3)) + pixels.diff(dim=-2).abs().mean(
        (1, 2, 3)
    )
    torch.testing.assert_close(objective, matching + 0.1 * variation, rtol=1e-10, atol=0)
    assert_same((same, matching), (gradients, matching))


@pytest.mark.parametrize("update_model", ["unroll", "surrogate", "detached"])
def test_vmap_agrees_on_several_local_steps(update_model: str) -> None:
    problem, x, target = case("convnet", steps=2, images=4)
    phase = replace(problem.phase, update_model=update_model)
    problem = replace(problem, phase=phase)
    x = with_surrogate(phase, x)
    assert not applies(problem)
    found = ENGINES["vmap"](problem)(x, target)
    assert_same(found, ENGINES["loop"](problem)(x, target))
    assert ("surrogate" in found[0]) == (update_model == "surrogate")


def test_an_attack_at_the_uploaded_weights_misses_what_one_at_the_global_weights_meets() -> None:
    """TIP's released attack differentiates at the client's defended weights: at the truth its loss is not zero."""
    problem, x, target = case("convnet", images=1)
    seen = problem.observation
    shifted = {name: value + 0.05 * value.std() for name, value in target.observed.items()}
    target = replace(target, observed=shifted)
    there = replace(problem, phase=replace(problem.phase, evaluated_at="defended"))
    assert not applies(there)
    assert_same(ENGINES["vmap"](there)(x, target), ENGINES["loop"](there)(x, target))
    own = {name: value[0] for name, value in shifted.items()}
    weights = there.point({}, own)
    uploaded = {name: value - 0.1 * own[name] for name, value in seen.parameters.items()}
    torch.testing.assert_close(weights, uploaded)
    assert problem.point({}, own) is seen.parameters
    far = ENGINES["loop"](there)(x, target)[1]
    assert (far - ENGINES["loop"](problem)(x, target)[1]).abs().min() > 1e-6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need an NVIDIA GPU")
@pytest.mark.parametrize("engine", ["cuda_graph", "cuda_graph_vmap", "factored", "vmap"])
def test_a_gpu_agrees_with_the_cpu(engine: str) -> None:
    problem, x, target = case("convnet")
    expected = ENGINES["loop"](problem)(x, target)
    seen = problem.observation.to(torch.device("cuda"))
    space = Knowledge(seen, ThreatModel(id="test")).pixels()
    moved = Problem(
        problem.model.cuda(), seen, problem.training, replace(problem.phase, space=space)
    )
    labels, observed, consensus, _ = target.tensors()
    there = Target(labels.cuda(), {k: v.cuda() for k, v in observed.items()}, consensus.cuda(), {})
    on_gpu = {k: v.cuda() for k, v in x.items()}
    evaluate = ENGINES[engine](moved)
    evaluate(on_gpu, there)
    gradients, matching = evaluate(on_gpu, there)
    assert_same(({k: v.cpu() for k, v in gradients.items()}, matching.cpu()), expected, 1e-6)


def test_an_iteration_costs_at_most_seven_and_a_half_forward_passes() -> None:
    """Counted operation by operation; a plain double backward costs nine."""
    problem, x, target = case("resnet18", images=1, kind=torch.float32)
    evaluate = ENGINES["factored"](problem)
    images = torch.rand(len(target.labels), 3, 16, 16)
    forward = operations(lambda: problem.model(images))
    assert operations(lambda: evaluate(x, target)) <= 7.5 * forward


def test_a_chunked_evaluation_is_the_whole_one() -> None:
    problem, x, target = case("convnet", elements=5)
    whole = ENGINES["factored"](problem)
    assert_same(Chunked(whole, 2)(x, target), whole(x, target), 1e-10)


def test_running_out_of_memory_halves_the_chunk_and_loses_nothing() -> None:
    problem, x, target = case(elements=5)
    whole = ENGINES["factored"](problem)
    sizes: list[int] = []

    def small(x: Variables, target: Target) -> Evaluation:
        sizes.append(len(target.labels))
        if len(target.labels) > 2:
            raise torch.OutOfMemoryError("planted")
        return whole(x, target)

    chunked = Chunked(small, 5)
    assert_same(chunked(x, target), whole(x, target), 1e-10)
    assert chunked.size == 2
    assert sizes == [5, 2, 2, 1]


def test_one_element_that_does_not_fit_says_what_to_do() -> None:
    def never(x: Variables, target: Target) -> Evaluation:
        raise torch.OutOfMemoryError("planted")

    _, x, target = case()
    with pytest.raises(GradSiegeError, match="smaller model"):
        Chunked(never, 3)(x, target)


def test_another_error_is_not_taken_for_a_lack_of_memory() -> None:
    def broken(x: Variables, target: Target) -> Evaluation:
        raise RuntimeError("planted")

    _, x, target = case()
    with pytest.raises(RuntimeError, match="planted"):
        Chunked(broken, 3)(x, target)


def test_chunks_follow_the_memory_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, x, target = case("convnet", elements=8)
    loop = ENGINES["loop"](problem)
    from gradsiege.attacks.engine import chunks

    def fitting(free: float) -> int:
        monkeypatch.setattr(chunks, "free_bytes", lambda device: free)
        return elements_that_fit(loop, x, target)

    one = chunks.HEADROOM * chunks.bytes_kept(loop, *chunks.part(x, target, 0, 1)) / chunks.SHARE
    assert [fitting(0), fitting(3.5 * one), fitting(100 * one)] == [1, 3, 8]


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Planted:
    """A clock that shows what a test says."""
    times = Planted()
    monkeypatch.setattr(autotune, "clock", times.clock)
    monkeypatch.setattr(autotune, "engine", times.engine)
    return times


def test_the_fastest_engine_is_chosen_and_remembered(tmp_path: Path, planted: Planted) -> None:
    problem, x, target = case()
    planted.seconds = {"factored": 6.0, "loop": 9.0, "vmap": 2.0}
    memory = EngineMemory(tmp_path)
    policy = EnginePolicy(recall=memory.recall, remember=memory.remember)
    first = choose(policy, problem, x, target)
    assert (first.engine, first.chunk) == ("vmap", 3)
    assert first.seconds == {name: value / 3 for name, value in planted.seconds.items()}
    planted.seconds["factored"] = 0.1
    assert choose(policy, problem, x, target) == first
    assert choose(EnginePolicy(), problem, x, target).engine == "factored"
    longer = {"x": torch.cat([x["x"], x["x"]], 1)}
    names = {
        autotune.signature(problem, 3, torch.device("cpu"), values, evaluations)
        for values in (x, longer)
        for evaluations in (18, 36)
    }
    assert len(names) == 4


@pytest.mark.parametrize(
    ("seconds_of_work", "tried"),
    [
        (0.9 * autotune.SECONDS_WORTH_MEASURING, ["loop"]),
        (1.1 * autotune.SECONDS_WORTH_MEASURING, ["loop", "factored"]),
        (1.1 * autotune.SECONDS_WORTH_VECTORISING, ["loop", "factored", "vmap"]),
        (1.1 * autotune.SECONDS_WORTH_COMPILING, ["loop", "factored", "vmap", "compiled"]),
    ],
)
def test_what_costs_seconds_to_load_is_tried_if_the_work_of_the_study_can_pay_for_it(
    seconds_of_work: float, tried: list[str], planted: Planted, tmp_path: Path
) -> None:
    """The work is that of all runs together: here a hundred, of six evaluations of three elements each."""
    problem, x, target = case()
    runs, iterations = 100, problem.phase.iterations + 1
    each = seconds_of_work / (runs * iterations * 3)
    planted.seconds = dict.fromkeys(autotune.PREFERRED, 3 * each)
    policy = EnginePolicy(runs=runs, programs=Programs(tmp_path))
    choice = choose(policy, problem, x, target)
    assert list(choice.seconds) == tried
    assert choice.engine == "loop"
    alone = choose(EnginePolicy(programs=Programs(tmp_path)), problem, x, target)
    assert list(alone.seconds) == ["loop"]
    without = choose(EnginePolicy(runs=runs), problem, x, target)
    assert "compiled" not in without.seconds


def test_among_engines_that_differ_by_noise_the_plainest_is_taken(planted: Planted) -> None:
    problem, x, target = case()
    planted.seconds = {"loop": 10.3, "factored": 10.0, "vmap": 10.1}
    assert choose(EnginePolicy(), problem, x, target).engine == "loop"
    planted.seconds["loop"] = 11.0
    assert choose(EnginePolicy(), problem, x, target).engine == "factored"
    # A clock that jumps by 40 % cannot tell 11 from 10.
    planted.jumps = 0.4
    assert choose(EnginePolicy(), problem, x, target).engine == "loop"


def test_an_engine_that_is_clearly_slower_is_not_timed_to_the_end(planted: Planted) -> None:
    problem, x, target = case()
    planted.seconds = {"loop": 30.0, "factored": 10.0, "vmap": 12.0}
    choose(EnginePolicy(), problem, x, target)
    tried, few = 1, autotune.ROUNDS_TO_DROP_OUT
    assert planted.calls["loop"] == planted.calls["vmap"] == tried + few
    # It takes turns with the plain loop, then with vmap.
    assert planted.calls["factored"] == tried + 2 * autotune.ROUNDS
    planted.calls.clear()
    planted.jumps = 2.5
    choose(EnginePolicy(), problem, x, target)
    assert planted.calls["vmap"] == tried + autotune.ROUNDS, "a clock that jumps tells nothing"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"engine": "loop"}', '{"engine": "lop", "chunk": 3}', "\xff"]
)
def test_a_choice_that_cannot_be_read_is_measured_anew(tmp_path: Path, text: str) -> None:
    memory = EngineMemory(tmp_path)
    memory.remember("x", EngineChoice("loop", 3))
    assert memory.recall("x") == EngineChoice("loop", 3)
    (tmp_path / "x.json").write_text(text, encoding="latin-1")
    assert memory.recall("x") is None


def test_an_engine_that_cannot_run_is_left_out_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(problem: Problem) -> object:
        def evaluate(x: Variables, target: Target) -> Evaluation:
            raise RuntimeError("no batching rule")

        return evaluate

    monkeypatch.setitem(ENGINES, "vmap", broken)
    choice = choose(EnginePolicy(runs=10**9), *case())
    assert choice.failed == {"vmap": "no batching rule"}
    assert set(choice.seconds) == {"factored", "loop"}


def test_the_factored_engine_refuses_what_it_would_get_wrong() -> None:
    problem, _, _ = case("convnet", steps=2, images=4)
    with pytest.raises(StudyError, match="2 local steps"):
        ENGINES["factored"](problem)


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(
        UsageError, match=r"unknown engine 'factord'; choose one of measured, .*factored"
    ):
        EnginePolicy("factord")


def run(evaluate: OfIteration, optimizer: Optimizer, iterations: int, patience: int) -> State:
    """Two elements of one number, from zero, in a space without bounds."""
    start = begin({"x": torch.zeros(2, 1)}, optimizer)
    free = (lambda x, iteration: x, optimizer, iterations, start, lambda state: None)
    return optimise(evaluate, *free, patience)


def test_an_element_stops_after_its_patience_and_the_loop_when_all_have() -> None:
    """Element 0 improves to the end, element 1 until iteration 3: it must stay there."""
    optimizer = Adam(0.1, sign="hard", schedule="constant")
    path: list[Tensor] = []

    def evaluate(x: Variables, iteration: int) -> Evaluation:
        path.append(x["x"].clone())
        losses = torch.tensor([-float(iteration), -float(min(iteration, 3))])
        return {"x": torch.ones_like(x["x"])}, losses

    state = run(evaluate, optimizer, 20, patience=4)
    assert state.iteration == 20
    assert state.best_iteration.tolist() == [20, 3]
    moves = [bool(after[1] != before[1]) for before, after in pairwise(path)]
    assert moves == [True] * 7 + [False] * 13


def test_the_loop_ends_when_every_element_has_stopped() -> None:
    def evaluate(x: Variables, iteration: int) -> Evaluation:
        return {"x": torch.zeros_like(x["x"])}, torch.zeros(2)

    state = run(evaluate, LBFGS(), 1000, patience=5)
    assert state.iteration == 10
