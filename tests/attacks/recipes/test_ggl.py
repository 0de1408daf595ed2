"""GGL: what a defense did is estimated from the update, its kind comes from the disclosure; published constants."""

from dataclasses import replace

import pytest
import torch
from generator_victims import natural_victims, trained_prior
from torch import Tensor

from gradsiege.attacks import recipes
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives import estimated_transforms
from gradsiege.attacks.objectives.distances import squared_l2
from gradsiege.attacks.objectives.regularizers import Candidate
from gradsiege.attacks.optimizers.cmaes import CMAES
from gradsiege.attacks.recipes.ggl import latent_divergence, mean_squared_l2
from gradsiege.attacks.spaces.generator import LatentCodes
from gradsiege.protocol.local_update import Tensors

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def natural() -> tuple[Knowledge, Tensor]:
    return natural_victims(trained_prior())


def random_update(seed: int, scale: float = 1.0) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"body.weight": (6, 50), "head.weight": (4, 25)}
    return {name: scale * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_estimated_clipping_equals_the_planted_one(natural: tuple[Knowledge, Tensor]) -> None:
    update = random_update(0)
    length = estimated_transforms.clipping_bound(update)
    clipped = {name: value * (4 / length) for name, value in update.items()}
    assert abs(float(estimated_transforms.clipping_bound(clipped)) - 4) < 1e-5
    redone = estimated_transforms.clip(update, clipped)
    torch.testing.assert_close(redone, clipped)
    short = {name: value * 0.01 for name, value in update.items()}
    torch.testing.assert_close(estimated_transforms.clip(short, clipped), short)
    distance = estimated_transforms.after(squared_l2, "clipping", natural[0])
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
        assert bool(recipe.phases[0].distance(update, halved) < 1e-9) is matched


def test_ggl_holds_the_published_constants(natural: tuple[Knowledge, Tensor]) -> None:
    (stage,) = recipes.build("ggl", {}, "faithful", 500, natural[0]).phases
    assert stage.optimizer == CMAES(population=50, deviation=1.0)
    assert isinstance(stage.space, LatentCodes)
    assert stage.space.bound == "tanh"
    assert stage.regularizers == ()
    assert mean_squared_l2({"a": torch.ones(4), "b": torch.zeros(1)}, {"a": torch.zeros(4), "b": torch.zeros(1)}) == 2  # fmt: skip
    (free,) = recipes.build("ggl", {"tanh": False}, "faithful", 500, natural[0]).phases
    assert free.regularizers == ((0.1, latent_divergence),)


def test_latent_divergence_is_that_of_a_normal_distribution() -> None:
    none = torch.empty(0)
    standard = Candidate(none, none, none, {}, {"z": torch.tensor([[1.0, -1.0]])})
    assert abs(float(latent_divergence(standard))) < 1e-6
    shifted = Candidate(none, none, none, {}, {"z": torch.tensor([[4.0, 2.0]])})
    assert abs(float(latent_divergence(shifted)) - 4.5) < 1e-5
