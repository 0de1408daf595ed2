"""GIAS, GGL and the deep image prior: planted codes are found, weights belong to one image, searches resume exactly."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cmaes
import numpy as np
import pytest
import torch
from torch import Tensor

from gradsiege.attacks import recipes
from gradsiege.attacks.engine import estimated_transforms
from gradsiege.attacks.engine.distances import cosine, squared_l2
from gradsiege.attacks.engine.evolution import CMAES, evolve
from gradsiege.attacks.engine.generator_spaces import (
    GeneratorWeights,
    LatentCodes,
    UntrainedNetwork,
    staged_generator,
)
from gradsiege.attacks.engine.loop import State, begin
from gradsiege.attacks.engine.optimizer import Adam
from gradsiege.attacks.engine.recipe import Knowledge, Recipe, Stage, TrainedPrior
from gradsiege.attacks.engine.regularizers import Candidate
from gradsiege.attacks.engine.untrained_network import OverParameterisedNetwork
from gradsiege.attacks.engine.variables import Variables
from gradsiege.attacks.recipes import gias
from gradsiege.attacks.recipes.ggl import latent_divergence, mean_squared_l2
from gradsiege.attacks.reconstruct import reconstruct
from gradsiege.errors import ThreatModelError
from gradsiege.models import ModelSpec, build
from gradsiege.priors import staged_gan
from gradsiege.protocol.local_update import LocalTraining, Tensors, local_update, split_state
from gradsiege.protocol.observation import Observation
from gradsiege.protocol.threat_model import ThreatModel
from gradsiege.seeds import seed_for

torch.set_num_threads(1)
SIDE = 16
THREAT = ThreatModel("test", labels="given")


def patches(count: int) -> tuple[Tensor, Tensor]:
    """Smooth random images; class 0 is bright above, class 1 below."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 3, 3, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear")
    labels = torch.arange(count) % 2
    ramp = torch.linspace(1, 0, SIDE)[:, None].expand(SIDE, SIDE)
    light = torch.where(labels[:, None, None] == 0, ramp, ramp.flip(0))
    return 0.6 * smooth + 0.4 * light[:, None], labels


@pytest.fixture(scope="module")
def prior() -> TrainedPrior:
    parameters = staged_gan.Parameters(
        latent=6,
        width=8,
        discriminator_width=8,
        steps=150,
        batch_size=16,
        learning_rate=1e-3,
        averaging=0.98,
    )
    generator = torch.Generator().manual_seed(0)
    return TrainedPrior("staged_gan", *staged_gan.train(*patches(200), parameters, generator))


def observe(truth: Tensor, labels: Tensor) -> Observation:
    """Updates of victims that hold ``truth [victims, images, c, h, w]``."""
    spec = ModelSpec("convnet", {"width": 4}, 2, 3, SIDE)
    model = build(spec, torch.Generator().manual_seed(1))
    parameters, buffers = split_state(model)
    images = truth.shape[1]
    training = LocalTraining("fedsgd", images, images, 1, 0.1, "eval")
    updates = [
        local_update(model, parameters, buffers, x, y, training)[0]
        for x, y in zip(truth, labels, strict=True)
    ]
    update = {key: torch.stack([one[key] for one in updates]) for key in updates[0]}
    return Observation(spec, parameters, buffers, update, images, training, None, labels)


@pytest.fixture(scope="module")
def planted(prior: TrainedPrior) -> tuple[Knowledge, Tensor]:
    """Three victims of one image, which the generator makes itself from known latents."""
    network = staged_gan.load(prior.weights)
    labels = torch.tensor([[0], [1], [0]])
    z = torch.randn(3, network.latent, generator=torch.Generator().manual_seed(5))
    truth = network(z, labels[:, 0])[:, None]
    return Knowledge(observe(truth, labels), THREAT, prior), truth


@pytest.fixture(scope="module")
def natural(prior: TrainedPrior) -> tuple[Knowledge, Tensor]:
    """Two victims of two images that the generator did not make."""
    images, labels = patches(204)
    truth, labels = images[200:].view(2, 2, 3, SIDE, SIDE), labels[200:].view(2, 2)
    return Knowledge(observe(truth, labels), THREAT, prior), truth


def errors(images: Tensor, truth: Tensor) -> Tensor:
    return (images - truth).square().flatten(1).mean(1)


def latent_stage(knowledge: Knowledge, iterations: int, **more: Any) -> Stage:
    shape, mean, deviation = knowledge.pixel_arguments()
    space = LatentCodes(staged_generator(knowledge, "test"), shape[0], mean, deviation)
    settings = {"optimizer": Adam(0.1), **more}
    return Stage(space, cosine, (), settings["optimizer"], iterations)


def chance(knowledge: Knowledge, truth: Tensor) -> Tensor:
    """Mean error of prior samples of the right class, for each victim."""
    assert knowledge.observation.labels is not None
    network = staged_generator(knowledge, "test")
    z = torch.randn(20, network.latent, generator=torch.Generator().manual_seed(6))
    labels = knowledge.observation.labels
    drawn = [network(z, label.expand(20)) for label in labels[:, 0]]
    return torch.stack([errors(one, image).mean() for one, image in zip(drawn, truth, strict=True)])


def interrupted(knowledge: Knowledge, recipe: Recipe, stage: int, iteration: int) -> State:
    """The state in which a run is left."""
    saved: list[State] = []

    class LeaveError(Exception):
        pass

    def pause(state: State) -> None:
        if (state.stage, state.iteration) == (stage, iteration):
            saved.append(copy.deepcopy(state))
            raise LeaveError

    with pytest.raises(LeaveError):
        reconstruct(knowledge, recipe, 2, ("s",), pause=pause)
    return saved[0]


def test_a_planted_latent_is_found_by_gradient(planted: tuple[Knowledge, Tensor]) -> None:
    knowledge, truth = planted
    found = reconstruct(knowledge, Recipe((latent_stage(knowledge, 60),)), 4, ("s",))
    assert errors(found.images, truth).mean() < 0.3 * chance(knowledge, truth).mean()


def test_a_planted_latent_is_found_by_evolution(planted: tuple[Knowledge, Tensor]) -> None:
    knowledge, truth = planted
    parameters = {"population": 12, "tanh": False, "divergence": 0.0}
    recipe = recipes.build("ggl", parameters, "faithful", 25, knowledge)
    found = reconstruct(knowledge, recipe, 1, ("s",))
    assert errors(found.images, truth).mean() < 0.5 * chance(knowledge, truth).mean()
    assert recipe.stages[0].evaluations == 300


def test_the_generator_draws_the_class_that_is_matched(planted: tuple[Knowledge, Tensor]) -> None:
    knowledge, _ = planted
    space = latent_stage(knowledge, 1).space
    x = {"z": torch.zeros(1, 6)}
    as_zero, as_one = (space.decode(x, torch.tensor([label]))[1] for label in (0, 1))
    half = SIDE // 2
    tilt = [(one[:, :, :half] - one[:, :, half:]).mean() for one in (as_zero, as_one)]
    assert tilt[0] > tilt[1] + 0.05


def test_latents_can_be_squashed_or_kept_on_the_sphere(planted: tuple[Knowledge, Tensor]) -> None:
    space, label = latent_stage(planted[0], 1).space, torch.tensor([1])
    assert isinstance(space, LatentCodes)
    z = 3 * torch.randn(4, 1, 6)
    lengths = replace(space, bound="sphere").project({"z": z})["z"].norm(dim=-1)
    torch.testing.assert_close(lengths, torch.full((4, 1), 6**0.5))
    squashed = replace(space, bound="tanh").decode({"z": z[0]}, label)[1]
    assert torch.equal(squashed, space.decode({"z": z[0].tanh()}, label)[1])
    uniform = replace(space, begin="uniform").start(torch.Generator().manual_seed(0))["z"]
    assert uniform.min() >= 0


def test_gias_tunes_weights_below_what_latents_reach(natural: tuple[Knowledge, Tensor]) -> None:
    knowledge, _ = natural
    recipe = recipes.build("gias", {"latent_share": 0.5}, "faithful", 60, knowledge)
    both = reconstruct(knowledge, recipe, 1, ("s",))
    latent_only = reconstruct(knowledge, Recipe(recipe.stages[:1]), 1, ("s",))
    assert (both.matching_loss < 0.8 * latent_only.matching_loss).all()


def test_gias_fixes_the_latent_and_gives_every_image_its_own_weights(
    natural: tuple[Knowledge, Tensor],
) -> None:
    knowledge, _ = natural
    recipe = recipes.build("gias", {}, "faithful", 8, knowledge)
    ends: list[State] = []
    reconstruct(knowledge, recipe, 1, ("s",), pause=lambda state: ends.append(copy.copy(state)))
    second = [state for state in ends if state.stage == 1]
    assert torch.equal(second[0].x["z"], second[-1].x["z"])
    moved = second[-1].x["weights.entry.weight"]
    assert moved.shape[:2] == (2, 2)
    for one, other in (((0, 0), (0, 1)), ((0, 0), (1, 0))):
        assert not torch.equal(moved[one], moved[other])


def test_an_image_depends_on_no_other_image_s_weights(natural: tuple[Knowledge, Tensor]) -> None:
    knowledge, _ = natural
    shape, mean, deviation = knowledge.pixel_arguments()
    space = GeneratorWeights(staged_generator(knowledge, "test"), shape[0], mean, deviation)
    x, labels = space.start(torch.Generator().manual_seed(0)), torch.tensor([0, 1])
    before = space.decode(x, labels)[1]
    torch.testing.assert_close(before, space.network(x["z"], labels))
    changed = {name: value.clone() for name, value in x.items()}
    for name in changed:
        changed[name][1] += 0.1
    after = space.decode({**changed, "z": x["z"]}, labels)[1]
    assert torch.equal(after[0], before[0])
    assert not torch.allclose(after[1], before[1])


def test_the_published_split_of_iterations() -> None:
    assert gias.split_iterations(5500, 32) == (500, 5000)
    assert gias.split_iterations(5500, 64) == (500, 5000)
    assert gias.split_iterations(9000, 128) == (1000, 8000)
    assert gias.split_iterations(1, 16) == (1, 1)


def planted_fitness(optima: Tensor) -> Callable[[Variables], tuple[Tensor, Tensor]]:
    def fitness(x: Variables) -> tuple[Tensor, Tensor]:
        loss = (x["z"] - optima[:, None]).square().sum((2, 3)) + 0.5
        return loss, loss

    return fitness


def test_evolution_finds_each_element_s_own_optimum() -> None:
    optima, optimizer = torch.randn(3, 2, 2), CMAES(population=10)
    start = {"z": torch.zeros(3, 2, 2)}
    state = begin(start, optimizer)
    fitness = planted_fitness(optima)
    state = evolve(fitness, optimizer, 60, state, ("s",), lambda state: None)
    torch.testing.assert_close(state.best["z"], optima, atol=0.02, rtol=0)
    torch.testing.assert_close(state.best_loss, torch.full((3,), 0.5), atol=1e-3, rtol=0)
    alone = begin({"z": start["z"][:1]}, optimizer)
    alone = evolve(planted_fitness(optima[:1]), optimizer, 60, alone, ("s",), lambda state: None)
    assert torch.equal(alone.best["z"][0], state.best["z"][0])


def test_evolution_equals_the_library_run_without_a_break() -> None:
    optimum, optimizer = torch.tensor([[[1.0, -2.0, 0.5]]]), CMAES(population=8)
    state = begin({"z": torch.zeros(1, 1, 3)}, optimizer)
    state = evolve(planted_fitness(optimum), optimizer, 20, state, ("s",), lambda state: None)
    search = cmaes.CMA(np.zeros(3), 1.0, population_size=8)
    for generation in range(20):
        search.reseed_rng(seed_for("s", "generation", generation, 0) % 2**32)
        points = [search.ask() for _ in range(8)]
        tensors = torch.from_numpy(np.array(points)).float()
        values = ((tensors - optimum[0]).square().sum(1) + 0.5).double().tolist()
        search.tell(list(zip(points, values, strict=True)))
    np.testing.assert_array_equal(state.memory["_mean"][0].numpy(), search.mean)


def test_a_broken_element_harms_nobody_in_evolution() -> None:
    optima, optimizer = torch.tensor([[[1.0]], [[torch.nan]], [[2.0]]]), CMAES(population=6)
    state = begin({"z": torch.zeros(3, 1, 1)}, optimizer)
    state = evolve(planted_fitness(optima), optimizer, 30, state, ("s",), lambda state: None)
    assert state.best["z"][1].isnan().all()
    torch.testing.assert_close(
        state.best["z"][::2, 0, 0], torch.tensor([1.0, 2.0]), atol=0.02, rtol=0
    )


@pytest.mark.parametrize(
    ("name", "parameters", "place"),
    [
        ("gias", {}, (0, 1)),
        ("gias", {"latent_share": 0.3}, (1, 3)),
        ("ggl", {"population": 6}, (0, 5)),
        ("deep_image_prior", {"width": 4}, (0, 6)),
    ],
)
def test_resuming_gives_the_same_bits(
    name: str, parameters: dict[str, Any], place: tuple[int, int], natural: tuple[Knowledge, Tensor]
) -> None:
    knowledge, _ = natural
    recipe = recipes.build(name, parameters, "faithful", 10, knowledge)
    saved = interrupted(knowledge, recipe, *place)
    resumed = reconstruct(knowledge, recipe, 2, ("s",), resume=lambda: saved)
    straight = reconstruct(knowledge, recipe, 2, ("s",))
    assert torch.equal(resumed.images, straight.images)
    assert torch.equal(resumed.matching_loss, straight.matching_loss)
    assert [step for step, _ in resumed.trace] == [step for step, _ in straight.trace]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("gias", {}), ("ggl", {"population": 6}), ("deep_image_prior", {"width": 4})],
)
def test_the_returned_image_is_the_arg_min_image(
    name: str, parameters: dict[str, Any], natural: tuple[Knowledge, Tensor]
) -> None:
    """The image's own update, computed afresh, has the loss that is returned; no visited loss is smaller."""
    knowledge, _ = natural
    seen = knowledge.observation
    recipe = recipes.build(name, parameters, "faithful", 9, knowledge)
    found = reconstruct(knowledge, recipe, 2, ("s",))
    assert torch.equal(
        found.matching_loss, torch.stack([row for _, row in found.trace]).amin((0, 2))
    )
    assert (found.matching_loss < found.trace[0][1].amin(1)).any()
    model, training = build(seen.model), seen.training
    assert training is not None
    for victim in range(2):
        update, _ = local_update(
            model,
            seen.parameters,
            seen.buffers,
            found.images[victim],
            found.labels[victim],
            training,
        )
        observed = {key: value[victim] for key, value in seen.update.items()}
        loss = recipe.stages[-1].distance(update, observed)
        torch.testing.assert_close(loss, found.matching_loss[victim], rtol=1e-3, atol=1e-4)


def random_update(seed: int, scale: float = 1.0) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"body.weight": (6, 50), "head.weight": (4, 25)}
    return {name: scale * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_estimated_clipping_equals_the_planted_one() -> None:
    update = random_update(0)
    length = estimated_transforms.clipping_bound(update)
    clipped = {name: value * (4 / length) for name, value in update.items()}
    assert abs(float(estimated_transforms.clipping_bound(clipped)) - 4) < 1e-5
    redone = estimated_transforms.clip(update, clipped)
    torch.testing.assert_close(redone, clipped)
    short = {name: value * 0.01 for name, value in update.items()}
    torch.testing.assert_close(estimated_transforms.clip(short, clipped), short)
    distance = estimated_transforms.after(squared_l2, "clipping")
    assert distance(update, clipped) < 1e-9
    assert squared_l2(update, clipped) > 1


def test_estimated_sparsity_equals_the_planted_one() -> None:
    update = random_update(0)
    sparse = {
        name: value * (value.abs() >= value.abs().flatten().quantile(0.9))
        for name, value in update.items()
    }
    assert abs(float(estimated_transforms.zero_fraction(sparse)) - 0.9) < 0.01
    torch.testing.assert_close(estimated_transforms.sparsify(update, sparse), sparse)
    batched = torch.vmap(estimated_transforms.sparsify)(
        {name: torch.stack([value, 2 * value]) for name, value in update.items()},
        {name: torch.stack([value, value]) for name, value in sparse.items()},
    )
    torch.testing.assert_close(batched["body.weight"][1], 2 * sparse["body.weight"])


def test_ggl_takes_the_kind_of_defense_from_the_disclosure(
    natural: tuple[Knowledge, Tensor],
) -> None:
    knowledge, _ = natural
    update = random_update(0)
    halved = {name: value / 2 for name, value in update.items()}
    for disclosure, matched in (({"defense": "clipping"}, True), ({"defense": "tip"}, False)):
        seen = replace(knowledge.observation, disclosure=disclosure)
        recipe = recipes.build("ggl", {}, "faithful", 1, replace(knowledge, observation=seen))
        assert bool(recipe.stages[0].distance(update, halved) < 1e-9) is matched


def test_ggl_holds_the_published_constants(natural: tuple[Knowledge, Tensor]) -> None:
    (stage,) = recipes.build("ggl", {}, "faithful", 500, natural[0]).stages
    assert stage.optimizer == CMAES(population=50, deviation=1.0)
    assert isinstance(stage.space, LatentCodes)
    assert stage.space.bound == "tanh"
    assert stage.regularizers == ()
    assert mean_squared_l2({"a": torch.ones(4), "b": torch.zeros(1)}, {"a": torch.zeros(4), "b": torch.zeros(1)}) == 2  # fmt: skip
    (free,) = recipes.build("ggl", {"tanh": False}, "faithful", 500, natural[0]).stages
    assert free.regularizers == ((0.1, latent_divergence),)


def test_latent_divergence_is_that_of_a_normal_distribution() -> None:
    none = torch.empty(0)
    standard = Candidate(none, none, none, {}, {"z": torch.tensor([[1.0, -1.0]])})
    assert abs(float(latent_divergence(standard))) < 1e-6
    shifted = Candidate(none, none, none, {}, {"z": torch.tensor([[4.0, 2.0]])})
    assert abs(float(latent_divergence(shifted)) - 4.5) < 1e-5


def test_deep_image_prior_recovers_images_without_any_prior(
    natural: tuple[Knowledge, Tensor],
) -> None:
    knowledge, truth = natural
    recipe = recipes.build(
        "deep_image_prior", {"width": 8, "learning_rate": 3e-3}, "faithful", 60, knowledge
    )
    assert recipe.stages[0].optimizer == Adam(3e-3, sign="hard", schedule="constant")
    found = reconstruct(replace(knowledge, prior=None), recipe, 1, ("s",))
    first = found.trace[0][1][:, 0]
    assert (found.matching_loss < 0.5 * first).all()
    floor = errors(torch.rand(truth.shape), truth)
    assert (errors(found.images, truth) < 0.5 * floor).all()


def test_untrained_weights_belong_to_one_element() -> None:
    mean, deviation = torch.full((3,), 0.5), torch.full((3,), 0.25)
    network = OverParameterisedNetwork(5, 4, 3, SIDE)
    space = UntrainedNetwork(network, 2, mean, deviation, latent=5)
    one, other = (space.start(torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert not torch.equal(one["weights.image.weight"], other["weights.image.weight"])
    labels = torch.zeros(2, 2, dtype=torch.long)
    pair = {name: torch.stack([one[name], other[name]]) for name in one}
    _, before = torch.vmap(space.decode)(pair, labels)
    pair["weights.image.bias"][1] += 1
    normalised, after = torch.vmap(space.decode)(pair, labels)
    assert torch.equal(after[0], before[0])
    assert not torch.allclose(after[1], before[1])
    torch.testing.assert_close(normalised, (after - 0.5) / 0.25)
    assert after.min() >= 0
    assert after.max() <= 1


@pytest.mark.parametrize("name", ["gias", "ggl"])
def test_attacks_refuse_to_run_without_a_fitting_generator(
    name: str, natural: tuple[Knowledge, Tensor]
) -> None:
    knowledge, _ = natural
    for wrong in (None, TrainedPrior("autoencoder", {}, {})):
        with pytest.raises(ThreatModelError, match="staged_gan"):
            recipes.build(name, {}, "faithful", 1, replace(knowledge, prior=wrong))
    spec = replace(knowledge.observation.model, size=32)
    larger = replace(knowledge, observation=replace(knowledge.observation, model=spec))
    with pytest.raises(ThreatModelError, match="shape"):
        recipes.build(name, {}, "faithful", 1, larger)
