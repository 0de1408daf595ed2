"""The engine is exact: against a plain float64 loop, against finite differences, and at the truth."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from victims import interrupted

from gradsiege.attacks.engine.engines import ENGINES
from gradsiege.attacks.engine.loop import begin, optimise
from gradsiege.attacks.engine.objective import Problem, Target, element_cost
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import Distance, cosine, squared_l2
from gradsiege.attacks.objectives.regularizers import total_variation
from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.attacks.recipes import inverting_gradients
from gradsiege.attacks.reconstruct import reconstruct
from gradsiege.attacks.variables import Variables
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import LocalTraining, local_update, split_state
from gradsiege.protocol.observation import Observation, stacked
from gradsiege.protocol.threat_model import ThreatModel

torch.set_num_threads(1)
SHAPES = {
    "convnet": {"width": 4},
    "mlp": {"width": 16},
    "lenet": {"channels": 4, "initial_range": 0.5},
    "resnet18": {"width": 4},
    "vgg11": {"width": 4},
    "vgg16": {"width": 4},
    "densenet121": {"growth": 4},
    "vit_small": {"width": 16, "depth": 2, "heads": 2},
}
ENGINES_OF_A_CPU = ["loop", "vmap", "factored"]


def case(
    name: str = "lenet",
    victims: int = 2,
    images: int = 1,
    kind: torch.dtype = torch.float64,
    training: LocalTraining | None = None,
) -> tuple[nn.Module, Observation, Tensor]:
    """A model, an observation of `victims` updates, and the true images."""
    size = 32 if name.startswith("vgg") else 16
    spec = ModelSpec(name, SHAPES[name], 10, 3, size)
    model = build(spec, torch.Generator().manual_seed(1)).to(kind)
    parameters, buffers = split_state(model)
    generator = torch.Generator().manual_seed(2)
    truth = torch.rand(victims, images, 3, size, size, generator=generator).to(kind)
    labels = torch.arange(victims * images).view(victims, images) % 10
    training = training or LocalTraining("fedsgd", images, images, 1, 0.1, "eval")
    updates = [
        local_update(model, parameters, buffers, x, y, training)[0]
        for x, y in zip(truth, labels, strict=True)
    ]
    update = stacked(updates)
    seen = Observation.of_updates(spec, parameters, buffers, update, training, labels=labels)
    return model, seen, truth


def phase_of(
    seen: Observation, distance: Distance, weight: float = 0.1, iterations: int = 5
) -> Phase:
    space = Knowledge(seen, ThreatModel(id="test")).pixels()
    return Phase(space, distance, ((weight, total_variation),), Adam(0.1, sign="hard"), iterations)


def target_of(seen: Observation) -> Target:
    assert seen.labels is not None
    shape = (seen.victims, seen.images_per_client, *seen.image_shape)
    return Target(seen.labels, seen.update, torch.zeros(shape, dtype=torch.float64), {})


def plain_loop(
    model: nn.Module, seen: Observation, phase: Phase, x: Tensor, distance: Callable[..., Tensor]
) -> tuple[Tensor, Tensor]:
    """The textbook way, one victim at a time: autograd with create_graph, then backward."""
    gradients, losses = [], []
    for index in range(len(x)):
        candidate = x[index].clone().requires_grad_()
        assert seen.labels is not None
        loss = F.cross_entropy(model(phase.space.images({"x": candidate})), seen.labels[index])
        found = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
        observed = [seen.update[name][index] for name, _ in model.named_parameters()]
        matching = distance(found, observed)
        tv = candidate.diff(dim=-1).abs().mean() + candidate.diff(dim=-2).abs().mean()
        total = matching + phase.regularizers[0][0] * tv
        gradients.append(torch.autograd.grad(total, candidate)[0])
        losses.append(matching.detach())
    return torch.stack(gradients), torch.stack(losses)


def plain_cosine(found: list[Tensor], observed: list[Tensor]) -> Tensor:
    a = torch.cat([value.flatten() for value in found])
    b = torch.cat([value.flatten() for value in observed])
    return 1 - F.cosine_similarity(a, b, dim=0)


def plain_l2(found: list[Tensor], observed: list[Tensor]) -> Tensor:
    return sum(((a - b) ** 2).sum() for a, b in zip(found, observed, strict=True))


@pytest.mark.parametrize("engine", ENGINES_OF_A_CPU)
@pytest.mark.parametrize("name", list(SHAPES))
@pytest.mark.parametrize(("ours", "theirs"), [(cosine, plain_cosine), (squared_l2, plain_l2)])
def test_gradients_and_losses_equal_a_plain_float64_loop(
    name: str, ours: Distance, theirs: Callable[..., Tensor], engine: str
) -> None:
    model, seen, _ = case(name, victims=3, images=2)
    phase = phase_of(seen, ours)
    assert seen.training is not None
    generator = torch.Generator().manual_seed(7)
    x = torch.stack([phase.space.start(generator)["x"].double() for _ in range(3)])
    evaluate = ENGINES[engine](Problem(model, seen, seen.training, phase))
    found, losses = evaluate({"x": x}, target_of(seen))
    gradients = found["x"]
    expected, expected_losses = plain_loop(model, seen, phase, x, theirs)
    torch.testing.assert_close(losses, expected_losses, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(gradients, expected, rtol=1e-7, atol=1e-12)


def test_outer_gradient_equals_finite_differences() -> None:
    # The sigmoid network is smooth, so that central differences converge.
    training = LocalTraining("fedavg", 2, 1, 2, 0.1, "eval")
    model, seen, _ = case("lenet", victims=1, images=2, training=training)
    phase = phase_of(seen, cosine, weight=0.0)
    whole = element_cost(Problem(model, seen, training, phase))
    target = target_of(seen)
    observed = {name: value[0] for name, value in seen.update.items()}

    def cost(x: Tensor) -> Tensor:
        return whole({"x": x}, target.labels[0], observed, target.consensus[0], {})[0]

    x = phase.space.start(torch.Generator().manual_seed(0))["x"].double()
    gradient = torch.func.grad(cost)(x)
    direction = torch.randn(
        x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    h = 1e-5
    numeric = (cost(x + h * direction) - cost(x - h * direction)) / (2 * h)
    torch.testing.assert_close((gradient * direction).sum(), numeric, rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize("name", ["convnet", "lenet", "resnet18"])
@pytest.mark.parametrize("protocol", ["fedsgd", "fedavg"])
def test_an_attack_started_at_the_truth_stays_there(name: str, protocol: str) -> None:
    training = LocalTraining(protocol, 2, 2 if protocol == "fedsgd" else 1, 1, 0.1, "eval")
    model, seen, truth = case(name, victims=2, images=2, training=training)
    phase = phase_of(seen, cosine, weight=0.0)
    evaluate = ENGINES["factored" if protocol == "fedsgd" else "loop"](
        Problem(model, seen, training, phase)
    )
    space = phase.space
    start = (truth - space.mean[:, None, None]) / space.deviation[:, None, None]
    target = target_of(seen)
    optimizer = Adam(1e-3, sign="hard")
    state = optimise(
        lambda x, iteration: evaluate(x, target),
        lambda x, iteration: space.project(x),
        optimizer,
        3,
        begin({"x": start}, optimizer),
        lambda state: None,
    )
    assert (state.best_loss.abs() < 1e-10).all()
    torch.testing.assert_close(space.images(state.best), truth, atol=1e-6, rtol=0)


def test_the_returned_image_is_the_arg_min_image() -> None:
    """A planted objective whose best iterate is neither the first nor the last."""
    losses = iter([3.0, 2.0, 0.5, 1.0, 4.0])
    visited: list[Tensor] = []

    def evaluate(x: Variables, iteration: int) -> tuple[Variables, Tensor]:
        visited.append(x["x"].clone())
        value = next(losses)
        return {"x": torch.ones_like(x["x"])}, torch.tensor([value, -value])

    optimizer = Adam(0.1, sign="hard", schedule="constant")
    start = torch.zeros(2, 1)
    state = optimise(
        evaluate, lambda x, i: x, optimizer, 4, begin({"x": start}, optimizer), lambda state: None
    )
    assert state.best_iteration.tolist() == [2, 4]
    assert state.best_loss.tolist() == [0.5, -4.0]
    assert torch.equal(state.best["x"][0], visited[2][0])
    assert torch.equal(state.best["x"][1], visited[4][1])


def test_a_nan_element_neither_wins_nor_disturbs_its_neighbour() -> None:
    _, seen, _ = case("lenet", victims=2, kind=torch.float32)
    broken = {name: value.clone() for name, value in seen.update.items()}
    next(iter(broken.values()))[0] = torch.nan
    recipe = Recipe((phase_of(seen, cosine),))
    threat = ThreatModel(id="test", labels="given")
    whole = reconstruct(Knowledge(seen, threat), recipe, 1, ("s",))
    hurt = reconstruct(Knowledge(replace(seen, update=broken), threat), recipe, 1, ("s",))
    assert not torch.isfinite(hurt.matching_loss[0])
    assert hurt.images[0].isnan().all()
    torch.testing.assert_close(hurt.images[1], whole.images[1])


def test_best_restart_is_chosen_by_matching_loss() -> None:
    _, seen, _ = case("lenet", victims=2, kind=torch.float32)
    recipe = Recipe((phase_of(seen, cosine, iterations=8),))
    found = reconstruct(Knowledge(seen, ThreatModel(id="t", labels="given")), recipe, 3, ("s",))
    finals = torch.stack([losses for _, losses in found.trace])
    torch.testing.assert_close(found.matching_loss, finals.amin((0, 2)))


def test_elements_do_not_depend_on_their_company() -> None:
    """Victim 0 alone and beside others: the same start and, up to rounding, the same first step."""
    _, seen, _ = case("lenet", victims=3, kind=torch.float32)
    assert seen.labels is not None
    first = {name: value[:1] for name, value in seen.update.items()}
    alone = replace(seen, update=first, labels=seen.labels[:1])
    recipe = Recipe((phase_of(seen, cosine, iterations=1),))
    threat = ThreatModel(id="t", labels="given")
    together = reconstruct(Knowledge(seen, threat), recipe, 1, ("s",))
    single = reconstruct(Knowledge(alone, threat), recipe, 1, ("s",))
    torch.testing.assert_close(
        together.matching_loss[:1], single.matching_loss, rtol=1e-4, atol=1e-6
    )


def test_resuming_gives_the_same_bits() -> None:
    _, seen, _ = case("lenet", victims=2, kind=torch.float32)
    recipe = Recipe((phase_of(seen, cosine, iterations=10),))
    knowledge = Knowledge(seen, ThreatModel(id="t", labels="given"))
    saved = interrupted(knowledge, recipe, 0, 6)
    resumed = reconstruct(knowledge, recipe, 2, ("s",), resume=lambda: saved)
    straight = reconstruct(knowledge, recipe, 2, ("s",))
    assert torch.equal(resumed.images, straight.images)
    assert [step for step, _ in resumed.trace] == [step for step, _ in straight.trace]


def test_recipe_holds_the_published_constants() -> None:
    _, seen, _ = case()
    attack = inverting_gradients.InvertingGradients(iterations=4000)
    recipe = attack.recipe(Knowledge(seen, ThreatModel(id="t")))
    (phase,) = recipe.phases
    assert phase.optimizer == Adam(0.1, sign="hard", schedule="steps")
    assert phase.regularizers[0] == (1e-6, total_variation)
    assert phase.distance is cosine


def test_projection_is_the_box_of_valid_images() -> None:
    _, seen, _ = case(kind=torch.float32)
    space = Knowledge(seen, ThreatModel(id="t")).pixels()
    images = space.images(space.project({"x": torch.randn(1, 3, 16, 16) * 50}))
    assert images.min() >= -1e-6
    assert images.max() <= 1 + 1e-6
    inside = (torch.rand(1, 3, 16, 16) - space.mean[:, None, None]) / space.deviation[:, None, None]
    torch.testing.assert_close(space.project({"x": inside})["x"], inside)
