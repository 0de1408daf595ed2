"""Engines, their choice, and chunks: the same numbers by every way, and nothing lost when memory is short."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from gradsiege.attacks.engine import autotune as choosing
from gradsiege.attacks.engine.autotune import EngineChoice, EnginePolicy, choose
from gradsiege.attacks.engine.chunks import Chunked, elements_that_fit
from gradsiege.attacks.engine.engines import ENGINES
from gradsiege.attacks.engine.factored import applies
from gradsiege.attacks.engine.loop import Evaluate, State, begin, optimise
from gradsiege.attacks.engine.objective import Evaluation, Problem, Target, with_surrogate
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import cosine, squared_l2
from gradsiege.attacks.objectives.regularizers import total_variation
from gradsiege.attacks.optimizers.gradient import LBFGS, Adam, Optimizer
from gradsiege.attacks.recipe import Phase
from gradsiege.attacks.spaces.pixels import PixelsAndLabels
from gradsiege.attacks.variables import Variables
from gradsiege.errors import GradSiegeError, StudyError, UsageError
from gradsiege.models import ModelSpec, build
from gradsiege.pipeline.engine_memory import EngineMemory
from gradsiege.protocol.local_update import LocalTraining, local_update, split_state
from gradsiege.protocol.observation import Observation, stacked
from gradsiege.protocol.threat_model import ThreatModel

torch.set_num_threads(1)
MODELS = {"lenet": {"channels": 4}, "convnet": {"width": 4}, "resnet18": {"width": 4}}
Case = tuple[Problem, Variables, Target]


def case(
    name: str = "lenet",
    *,
    mode: str = "eval",
    images: int = 2,
    steps: int = 1,
    joint: bool = False,
    kind: torch.dtype = torch.float64,
    elements: int = 3,
) -> Case:
    """A problem, random elements, and what they are matched with."""
    spec = ModelSpec(name, MODELS[name], 10, 3, 16)
    model = build(spec, torch.Generator().manual_seed(1)).to(kind)
    parameters, buffers = split_state(model)
    generator = torch.Generator().manual_seed(2)
    truth = torch.rand(elements, images, 3, 16, 16, generator=generator).to(kind)
    labels = torch.randint(0, 10, (elements, images), generator=generator)
    protocol = "fedsgd" if steps == 1 else "fedavg"
    training = LocalTraining(protocol, images, images // steps, 1, 0.1, mode)
    updates = [
        local_update(model, parameters, buffers, x, y, training)[0]
        for x, y in zip(truth, labels, strict=True)
    ]
    update = stacked(updates)
    seen = Observation.of_updates(spec, parameters, buffers, update, training, labels=labels)
    knowledge = Knowledge(seen, ThreatModel("test"))
    space = (
        PixelsAndLabels(*knowledge.pixel_arguments(), classes=10) if joint else knowledge.pixels()
    )
    phase = Phase(space, cosine, ((0.1, total_variation),), Adam(0.1, sign="hard"), 5)
    starts = [space.start(generator) for _ in range(elements)]
    x = {key: torch.stack([one[key] for one in starts]).to(kind) for key in starts[0]}
    consensus = torch.zeros(elements, images, 3, 16, 16, dtype=kind)
    return Problem(model, seen, training, phase), x, Target(labels, update, consensus, {})


def assert_same(found: Evaluation, expected: Evaluation, tolerance: float = 1e-8) -> None:
    torch.testing.assert_close(found[1], expected[1], rtol=tolerance, atol=1e-12)
    torch.testing.assert_close(found[0], expected[0], rtol=tolerance, atol=1e-12)


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


def test_compiled_agrees_and_returns_a_gradient() -> None:
    """A compiled double gradient has come back as None without an error; this one is finite, and the right one."""
    problem, x, target = case("lenet", images=1, elements=2)
    found = ENGINES["compiled"](problem)(x, target)
    assert found[0]["x"].abs().sum() > 0
    assert_same(found, ENGINES["loop"](problem)(x, target), 1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need an NVIDIA GPU")
@pytest.mark.parametrize("engine", ["cuda_graph", "cuda_graph_vmap", "factored", "vmap"])
def test_a_gpu_agrees_with_the_cpu(engine: str) -> None:
    problem, x, target = case("convnet")
    expected = ENGINES["loop"](problem)(x, target)
    seen = problem.observation.to(torch.device("cuda"))
    space = Knowledge(seen, ThreatModel("test")).pixels()
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
    with FlopCounterMode(display=False) as forward:
        problem.model(images)
    with FlopCounterMode(display=False) as iteration:
        evaluate(x, target)
    assert iteration.get_total_flops() <= 7.5 * forward.get_total_flops()


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


def test_the_fastest_engine_is_chosen_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, x, target = case()
    times = {"factored": 3.0, "loop": 1.0, "vmap": 2.0}
    start = {"factored": 1.0, "loop": 1.0, "vmap": 1.0}
    asked: list[str] = []

    def planted(evaluate: Chunked, x: Variables, target: Target) -> tuple[float, float]:
        name = list(times)[len(asked) % len(times)]
        asked.append(name)
        return start[name], times[name]

    monkeypatch.setattr(choosing, "clock", planted)
    memory = EngineMemory(tmp_path)
    policy = EnginePolicy(recall=memory.recall, remember=memory.remember)
    first = choose(policy, problem, x, target)
    assert first == EngineChoice("loop", 3, times, start)
    assert choose(policy, problem, x, target) == first
    assert asked == list(times)
    # Over this run's five iterations a slow start costs more than slow iterations.
    start["loop"] = 100.0
    assert choose(EnginePolicy(), problem, x, target).engine == "vmap"
    longer = {"x": torch.cat([x["x"], x["x"]], 1)}
    assert choosing.signature(problem, 3, torch.device("cpu"), x) != choosing.signature(
        problem, 3, torch.device("cpu"), longer
    )


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
    found = choose(EnginePolicy(), *case())
    assert found.failed == {"vmap": "no batching rule"}
    assert set(found.seconds) == {"factored", "loop"}


def test_the_factored_engine_refuses_what_it_would_get_wrong() -> None:
    problem, _, _ = case("convnet", steps=2, images=4)
    with pytest.raises(StudyError, match="2 local steps"):
        ENGINES["factored"](problem)


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(
        UsageError, match=r"unknown engine 'factord'; choose one of measured, .*factored"
    ):
        EnginePolicy("factord")


def run(evaluate: Evaluate, optimizer: Optimizer, iterations: int, patience: int) -> State:
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
