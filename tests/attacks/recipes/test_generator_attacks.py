"""GIAS, GGL and the deep image prior: planted codes are found, weights belong to one image, searches resume exactly."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from generator_victims import errors, natural_victims, planted_victims, trained_prior
from torch import Tensor
from victims import SIDE, interrupted

from gradsiege.attacks import recipes
from gradsiege.attacks.engine.loop import State
from gradsiege.attacks.generators import staged_generator
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import cosine
from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.attacks.recipes import gias
from gradsiege.attacks.reconstruct import reconstruct
from gradsiege.attacks.spaces.generator import GeneratorWeights, LatentCodes
from gradsiege.errors import ThreatModelError
from gradsiege.models import build
from gradsiege.priors.base import TrainedPrior
from gradsiege.protocol.local_update import local_update

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def planted() -> tuple[Knowledge, Tensor]:
    return planted_victims(trained_prior())


@pytest.fixture(scope="module")
def natural() -> tuple[Knowledge, Tensor]:
    return natural_victims(trained_prior())


def latent_phase(knowledge: Knowledge, iterations: int, **more: Any) -> Phase:
    shape, mean, deviation = knowledge.pixel_arguments()
    space = LatentCodes(staged_generator(knowledge, "test"), shape[0], mean, deviation)
    settings = {"optimizer": Adam(0.1), **more}
    return Phase(space, cosine, (), settings["optimizer"], iterations)


def chance(knowledge: Knowledge, truth: Tensor) -> Tensor:
    """Mean error of prior samples of the right class, for each victim."""
    assert knowledge.observation.labels is not None
    network = staged_generator(knowledge, "test")
    z = torch.randn(20, network.latent, generator=torch.Generator().manual_seed(6))
    labels = knowledge.observation.labels
    drawn = [network(z, label.expand(20)) for label in labels[:, 0]]
    return torch.stack([errors(one, image).mean() for one, image in zip(drawn, truth, strict=True)])


def test_a_planted_latent_is_found_by_gradient(planted: tuple[Knowledge, Tensor]) -> None:
    knowledge, truth = planted
    found = reconstruct(knowledge, Recipe((latent_phase(knowledge, 60),)), 4, ("s",))
    assert errors(found.images, truth).mean() < 0.3 * chance(knowledge, truth).mean()


def test_a_planted_latent_is_found_by_evolution(planted: tuple[Knowledge, Tensor]) -> None:
    knowledge, truth = planted
    parameters = {"population": 12, "tanh": False, "divergence": 0.0}
    recipe = recipes.build("ggl", parameters, "faithful", 25, knowledge)
    found = reconstruct(knowledge, recipe, 1, ("s",))
    assert errors(found.images, truth).mean() < 0.5 * chance(knowledge, truth).mean()
    assert recipe.phases[0].evaluations == 300


def test_the_generator_draws_the_class_that_is_matched(planted: tuple[Knowledge, Tensor]) -> None:
    knowledge, _ = planted
    space = latent_phase(knowledge, 1).space
    x = {"z": torch.zeros(1, 6)}
    as_zero, as_one = (space.decode(x, torch.tensor([label]))[1] for label in (0, 1))
    half = SIDE // 2
    tilt = [(one[:, :, :half] - one[:, :, half:]).mean() for one in (as_zero, as_one)]
    assert tilt[0] > tilt[1] + 0.05


def test_latents_can_be_squashed_or_kept_on_the_sphere(planted: tuple[Knowledge, Tensor]) -> None:
    space, label = latent_phase(planted[0], 1).space, torch.tensor([1])
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
    latent_only = reconstruct(knowledge, Recipe(recipe.phases[:1]), 1, ("s",))
    assert (both.matching_loss < 0.8 * latent_only.matching_loss).all()


def test_gias_fixes_the_latent_and_gives_every_image_its_own_weights(
    natural: tuple[Knowledge, Tensor],
) -> None:
    knowledge, _ = natural
    recipe = recipes.build("gias", {}, "faithful", 8, knowledge)
    ends: list[State] = []
    reconstruct(knowledge, recipe, 1, ("s",), pause=lambda state: ends.append(copy.copy(state)))
    second = [state for state in ends if state.phase == 1]
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
        loss = recipe.phases[-1].distance(update, observed)
        torch.testing.assert_close(loss, found.matching_loss[victim], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["gias", "ggl"])
def test_attacks_refuse_to_run_without_a_fitting_generator(
    name: str, natural: tuple[Knowledge, Tensor]
) -> None:
    knowledge, _ = natural
    for wrong in ((), (TrainedPrior("autoencoder", {}, {}),)):
        with pytest.raises(ThreatModelError, match="staged_gan"):
            recipes.build(name, {}, "faithful", 1, replace(knowledge, priors=wrong))
    spec = replace(knowledge.observation.model, size=32)
    larger = replace(knowledge, observation=replace(knowledge.observation, model=spec))
    with pytest.raises(ThreatModelError, match="shape"):
        recipes.build(name, {}, "faithful", 1, larger)
