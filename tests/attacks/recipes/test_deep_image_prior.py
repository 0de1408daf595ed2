"""The deep image prior: an untrained network is prior enough, and its weights belong to one element."""

from dataclasses import replace

import pytest
import torch
from generator_victims import errors, natural_victims, trained_prior
from torch import Tensor
from victims import SIDE

from gradsiege.attacks import recipes
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.reconstruct import reconstruct
from gradsiege.attacks.spaces.generator import UntrainedNetwork
from gradsiege.attacks.spaces.untrained_network import OverParameterisedNetwork

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def natural() -> tuple[Knowledge, Tensor]:
    return natural_victims(trained_prior())


def test_deep_image_prior_recovers_images_without_any_prior(
    natural: tuple[Knowledge, Tensor],
) -> None:
    knowledge, truth = natural
    recipe = recipes.build(
        "deep_image_prior", {"width": 8, "learning_rate": 3e-3}, "faithful", 60, knowledge
    )
    assert recipe.phases[0].optimizer == Adam(3e-3, sign="hard", schedule="constant")
    found = reconstruct(replace(knowledge, priors=()), recipe, 1, ("s",))
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
