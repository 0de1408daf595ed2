"""The shadow generator: what it learns, that it can be differentiated twice, and that no image sees another."""

import pytest
import torch

from gradsiege.priors.shadow_generator import (
    ShadowGenerator,
    ShadowGeneratorNetwork,
    find_latents,
    pyramid,
)

torch.set_num_threads(1)
SMALL = ShadowGenerator(latent=16, width=8, epochs=40, search_steps=100)


def smooth_images(count: int, seed: int, size: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 2, 2, generator=generator)
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")


@pytest.fixture(scope="module")
def trained() -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    labels = torch.zeros(120)
    return SMALL.train(smooth_images(120, 0), labels, torch.Generator().manual_seed(0))


def test_reconstructs_images_that_it_never_saw(trained) -> None:
    weights, card = trained
    assert card["trained_on"] == 108
    assert card["held_out"] == 12
    assert card["held_out_error_mean"] < 0.15 * card["mean_image_error"]
    assert card["training_error"] < 0.15 * card["mean_image_error"]
    unseen = smooth_images(8, 1)
    latents = find_latents(ShadowGenerator.load(weights), unseen, torch.zeros(8, 16), 100, 1e-2)
    assert (ShadowGenerator.load(weights)(latents) - unseen).square().mean() < 0.2 * card[
        "mean_image_error"
    ]


def test_latents_stay_in_the_unit_ball_and_depend_on_their_own_image_only(trained) -> None:
    generator, images = ShadowGenerator.load(trained[0]), smooth_images(5, 2)
    together = find_latents(generator, images, torch.zeros(5, 16), 40, 5e-2)
    alone = find_latents(generator, images[3:4], torch.zeros(1, 16), 40, 5e-2)
    assert together.norm(dim=1).max() <= 1 + 1e-6
    assert torch.allclose(together[3:4], alone, atol=1e-3)


def test_no_image_of_a_batch_sees_another(trained) -> None:
    generator, latents = ShadowGenerator.load(trained[0]), torch.randn(4, 16)
    assert torch.allclose(generator(latents)[1:2], generator(latents[1:2]), atol=1e-6)


def test_is_twice_differentiable() -> None:
    network = ShadowGeneratorNetwork(3, 2, 1, 8).double()
    latents = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, (latents,))
    assert torch.autograd.gradgradcheck(network, (latents,))


def test_same_generator_gives_the_same_weights_and_one_epoch_is_allowed() -> None:
    prior = ShadowGenerator(latent=4, width=2, epochs=1, search_steps=1)
    images = smooth_images(4, 0)
    runs = [prior.train(images, torch.zeros(4), torch.Generator().manual_seed(3))]
    runs += [prior.train(images, torch.zeros(4), torch.Generator().manual_seed(3))]
    assert runs[0][1] == runs[1][1]
    assert all(torch.equal(runs[0][0][name], runs[1][0][name]) for name in runs[0][0])


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (28, 3), (32, 3), (224, 3)])
def test_shape_is_read_back_from_the_weights(size: int, channels: int) -> None:
    network = ShadowGeneratorNetwork(5, 2, channels, size)
    again = ShadowGenerator.load(dict(network.state_dict()))
    latents = torch.randn(2, 5)
    assert again(latents).shape == (2, channels, size, size)
    assert torch.equal(again(latents), network(latents))
    assert not any(parameter.requires_grad for parameter in again.parameters())


def test_odd_sizes_and_single_images_are_refused() -> None:
    with pytest.raises(ValueError, match="even side above 4 pixels"):
        pyramid(33)
    with pytest.raises(ValueError, match="at least 2 images"):
        SMALL.train(smooth_images(1, 0), torch.zeros(1), torch.Generator())
