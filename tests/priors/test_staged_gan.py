"""The staged generator: its stages compose, its training teaches classes, and no image or run disturbs another."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from trunks import as_torchvision

from gradsiege import pretrained
from gradsiege.models.layers import initialize
from gradsiege.priors.staged_gan import StagedGAN, augmentation
from gradsiege.priors.staged_gan import quality as generator_quality
from gradsiege.priors.staged_gan.discriminator import SpectralConv2d, class_spread
from gradsiege.priors.staged_gan.generator import Staged, StagedGenerator, from_weights

torch.set_num_threads(1)
TOY = StagedGAN(
    latent=8, width=8, discriminator_width=8, steps=150, batch_size=16, learning_rate=1e-3,
    averaging=0.98,
)  # fmt: skip


def blobs(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Soft discs at random places on a dark ground: class 0 is red, class 1 is blue."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    centre = torch.rand(count, 2, generator=generator) * 8 + 4
    grid = torch.arange(16.0)
    squared = (grid[None, :, None] - centre[:, 0, None, None]) ** 2
    squared = squared + (grid[None, None, :] - centre[:, 1, None, None]) ** 2
    disc = torch.exp(-squared / 20)
    colours = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.1, 0.9]])[labels]
    return 0.05 + 0.9 * colours[:, :, None, None] * disc[:, None], labels


def small(size: int = 16, channels: int = 3, latent: int = 6) -> StagedGenerator:
    network = StagedGenerator(latent, 4, 3, channels, size)
    initialize(network, torch.Generator().manual_seed(0))
    return network


@pytest.fixture(scope="module")
def trained() -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    return TOY.train(*blobs(200, 0), torch.Generator().manual_seed(0))


def test_a_generator_that_lacks_a_part_cannot_be_made() -> None:
    class Startless(Staged):
        def embed(self, labels: torch.Tensor) -> torch.Tensor:
            return labels

    with pytest.raises(TypeError, match="start"):
        Startless()


@pytest.mark.parametrize("size", [16, 32, 64])
def test_stages_compose_to_forward(size: int) -> None:
    network, z, labels = small(size), torch.randn(2, 6), torch.tensor([0, 2])
    images = network(z, labels)
    assert images.shape == (2, 3, size, size)
    assert images.min() > 0
    assert images.max() < 1
    embedding = network.embed(labels)
    features = network.features(z, embedding)
    assert torch.equal(features[0], network.start(z, embedding))
    assert torch.equal(features[-1], images)
    for k, feature in enumerate(features[:-1]):
        assert torch.equal(network.stage(k, feature, embedding), features[k + 1])
        assert torch.equal(network.finish(k, feature, embedding), images)


def test_labels_may_be_indices_mixtures_or_unknown() -> None:
    network = small()
    one_hot = torch.eye(3)
    assert torch.equal(network.embed(torch.tensor([0, 1, 2])), network.embed(one_hot))
    mixed = network.embed(torch.tensor([[0.5, 0.5, 0.0]]))
    torch.testing.assert_close(mixed[0], network.embedding[:2].mean(0))
    torch.testing.assert_close(network.embed(torch.tensor([7]))[0], network.embedding.mean(0))


def test_is_twice_differentiable_in_latents_features_and_weights() -> None:
    network, z = small(8, 1, 3).double(), torch.randn(2, 3, dtype=torch.float64)
    embedding = network.embed(torch.tensor([0, 1])).detach()

    def images_of_features(h: torch.Tensor) -> torch.Tensor:
        return network.finish(0, h, embedding).mean((2, 3))

    h = network.start(z, embedding).detach().requires_grad_()
    assert torch.autograd.gradcheck(images_of_features, (h,))
    assert torch.autograd.gradgradcheck(images_of_features, (h,))
    weights = list(network.parameters())
    loss = network(z, torch.tensor([0, 1])).square().sum()
    first = torch.autograd.grad(loss, weights, create_graph=True)
    second = torch.autograd.grad(sum(value.square().sum() for value in first), weights)
    assert all(torch.isfinite(value).all() for value in (*first, *second))
    assert all(value.any() for value in second)


def test_vmap_over_weights_and_latents_equals_a_loop() -> None:
    network = small()
    copies = {
        name: torch.stack([value * (1 + 0.1 * i) for i in range(3)]).detach()
        for name, value in network.named_parameters()
    }
    z, labels = torch.randn(3, 2, 6), torch.tensor([[0, 1], [1, 2], [2, 0]])

    def call(weights: dict[str, torch.Tensor], z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(network, weights, (z, y))

    together = torch.vmap(call)(copies, z, labels)
    for i in range(3):
        alone = call({name: value[i] for name, value in copies.items()}, z[i], labels[i])
        torch.testing.assert_close(together[i], alone, rtol=1e-4, atol=1e-5)


def test_no_image_of_a_batch_sees_another() -> None:
    network, z, labels = small(), torch.randn(4, 6), torch.tensor([0, 1, 2, 0])
    torch.testing.assert_close(network(z, labels)[2:3], network(z[2:3], labels[2:3]))


def test_training_approaches_the_images_and_learns_their_classes(trained) -> None:
    weights, card = trained
    assert card["classes"] == 2
    assert card["trained_on"] == 180
    assert card["frechet_distance"] < 0.3 * card["frechet_distance_untrained"]
    assert card["frechet_distance"] > card["frechet_distance_of_training_images"]
    assert 0 <= card["recall"] <= 1
    assert "random convolutions" in card["extractor"]
    network = StagedGAN.load(weights)
    z = torch.randn(40, 8, generator=torch.Generator().manual_seed(1))
    red = network(z, torch.zeros(40, dtype=torch.long)).mean((0, 2, 3))
    blue = network(z, torch.ones(40, dtype=torch.long)).mean((0, 2, 3))
    assert red[0] > red[2] + 0.05
    assert blue[2] > blue[0] + 0.05


def test_images_of_a_class_change_with_the_latent_as_real_ones_do(trained) -> None:
    images, labels = blobs(200, 0)
    network = StagedGAN.load(trained[0])
    z = torch.randn(40, 8, generator=torch.Generator().manual_seed(1))
    made = network(z, torch.arange(40) % 2)
    ratio = class_spread(made, torch.arange(40) % 2, 2) / class_spread(images, labels, 2)
    assert (ratio > 0.4).all()
    assert (ratio < 2).all()


def test_same_generator_gives_the_same_weights_and_card() -> None:
    prior = StagedGAN(latent=4, width=4, discriminator_width=4, steps=3, batch_size=4)
    images, labels = blobs(20, 0)
    first = prior.train(images, labels, torch.Generator().manual_seed(3))
    torch.manual_seed(99)
    again = prior.train(images, labels, torch.Generator().manual_seed(3))
    assert first[1] == again[1]
    assert all(torch.equal(first[0][name], again[0][name]) for name in first[0])


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (28, 3), (32, 3), (64, 3)])
def test_shape_is_read_back_from_the_weights(size: int, channels: int) -> None:
    network = small(size, channels)
    again = from_weights(dict(network.state_dict()))
    z, labels = torch.randn(2, 6), torch.tensor([0, 1])
    assert torch.equal(again(z, labels), network(z, labels))
    assert not any(
        value.requires_grad for value in StagedGAN.load(dict(network.state_dict())).parameters()
    )


def test_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        TOY.train(*blobs(3, 0), torch.Generator())


def test_augmentation_is_differentiable_and_seeded() -> None:
    images = torch.rand(4, 3, 16, 16).requires_grad_()
    first = augmentation.augment(images, torch.Generator().manual_seed(0))
    again = augmentation.augment(images, torch.Generator().manual_seed(0))
    assert torch.equal(first, again)
    (gradient,) = torch.autograd.grad(first.sum(), images)
    assert torch.isfinite(gradient).all()
    assert gradient.any()


def test_translation_moves_and_cutout_cuts() -> None:
    images = torch.zeros(8, 1, 16, 16)
    images[:, :, 8, 8] = 1
    moved = augmentation.translate(images, torch.Generator().manual_seed(0))
    assert torch.equal(moved.sum((1, 2, 3)), torch.ones(8))
    places = moved.flatten(1).argmax(1)
    assert len(places.unique()) > 1
    assert (places // 16 - 8).abs().max() <= 2
    cut = augmentation.cut_out(torch.ones(50, 1, 16, 16), torch.Generator().manual_seed(0))
    holes = 256 - cut.sum((1, 2, 3))
    assert holes.max() <= 64
    assert holes.min() >= 4 * 4


def test_grey_images_stay_grey() -> None:
    grey = torch.rand(3, 1, 8, 8).expand(3, 3, 8, 8)
    changed = augmentation.recolour(grey, torch.Generator().manual_seed(0))
    torch.testing.assert_close(changed[:, 0], changed[:, 2])


def test_spectral_norm_brings_the_largest_singular_value_to_one() -> None:
    layer = SpectralConv2d(3, 5, 3, 1, 1)
    initialize(layer, torch.Generator().manual_seed(0))
    for _ in range(50):
        layer(torch.zeros(1, 3, 4, 4))
    matrix = layer.weight.flatten(1)
    largest = torch.linalg.matrix_norm(matrix, 2)
    torch.testing.assert_close(layer.u @ matrix @ F.normalize(matrix.T @ layer.u, dim=0), largest)


def test_frechet_distance_of_two_gaussians() -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(20000, 3, generator=generator, dtype=torch.float64)
    second = 2 * torch.randn(20000, 3, generator=generator, dtype=torch.float64) + 1
    # |m|^2 = 3 and, per dimension, 1 + 4 - 2 * 2 = 1.
    assert abs(generator_quality.frechet_distance(first, second) - 6) < 0.2


def test_precision_falls_with_foreign_images_and_recall_with_missing_modes() -> None:
    generator = torch.Generator().manual_seed(0)
    real = torch.cat([torch.randn(50, 2, generator=generator) + c for c in (0, 20)])
    half = torch.randn(100, 2, generator=generator)
    precision, recall = generator_quality.precision_recall(real, half)
    assert precision > 0.8
    assert 0.3 < recall < 0.6
    foreign = torch.cat([half, half + 100])
    assert abs(generator_quality.precision_recall(real, foreign)[0] - precision / 2) < 0.05


def test_alexnet_sees_what_is_near_and_says_that_it_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pretrained.VARIABLE, str(tmp_path))
    as_torchvision(tmp_path, monkeypatch, "alex")
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(40, 3, 32, 32, generator=generator)
    smooth = F.avg_pool2d(images, 5, 1, 2)
    card = generator_quality.compare_by_alexnet(images[:20], images[20:], smooth[20:], images[:20])
    assert "AlexNet" in card["extractor_alexnet"]
    assert card["frechet_distance_alexnet"] < 0.2 * card["frechet_distance_alexnet_untrained"]
    assert card["frechet_distance_alexnet_of_training_images"] < 1e-6
    assert 0.3 <= card["precision_alexnet"] <= 1
    rows = generator_quality.alexnet_features(images)
    assert isinstance(rows, torch.Tensor)
    assert rows.shape == (40, 256)


def test_without_alexnet_the_card_says_why_and_holds_no_number_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pretrained.VARIABLE, str(tmp_path))
    monkeypatch.setattr(pretrained, "packaged_file", lambda trunk: None)
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    card = generator_quality.compare_by_alexnet(images, images, images, images)
    assert list(card) == ["extractor_alexnet"]
    assert str(card["extractor_alexnet"]).startswith("absent: LPIPS (alex): the ImageNet weights")
