"""The denoiser: EDM's equations against algebra, what it learns against a closed form, its training against interruptions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from gradsiege.models.layers import initialize
from gradsiege.priors import denoiser
from gradsiege.priors.base import Trained
from gradsiege.priors.denoiser import Denoiser, Pupil
from gradsiege.priors.denoiser.network import Preconditioned, UNet
from gradsiege.priors.denoiser.preconditioning import (
    LEAST_NOISE,
    preconditioning,
    to_signed,
    to_unit,
    training_noise,
    weighted_loss,
)
from gradsiege.priors.resumable import Checkpointer

torch.set_num_threads(1)
SIDE = 8
TOY = Denoiser(width=16, steps=300, batch_size=32, learning_rate=5e-3, averaging=0.98)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def planted() -> tuple[Tensor, Tensor]:
    """Means ``[2, 64]`` and factor ``[64, 3]`` of a Gaussian of images in [-1, 1]: three smooth waves around a class's ramp."""
    places = torch.linspace(-1, 1, SIDE)
    ramp = 0.3 * places[:, None].expand(SIDE, SIDE)
    waves = [torch.ones(SIDE, SIDE), places.expand(SIDE, SIDE), torch.cos(3 * places)[:, None] * torch.ones(SIDE)]  # fmt: skip
    means = torch.stack([ramp, -ramp]).flatten(1)
    return means, torch.stack([0.15 * wave.flatten() for wave in waves], 1)


def drawn(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images in [-1, 1] of the planted Gaussian, and their classes."""
    means, factor = planted()
    labels = torch.arange(count) % 2
    codes = torch.randn(count, factor.shape[1], generator=seeded(seed))
    return (means[labels] + codes @ factor.T).view(count, 1, SIDE, SIDE), labels


def posterior_mean(x: Tensor, sigma: float, labels: Tensor) -> Tensor:
    """E[image | x] of the planted Gaussian: m + C (C + sigma^2 I)^-1 (x - m)."""
    means, factor = planted()
    covariance = factor @ factor.T
    gain = covariance @ torch.linalg.inv(covariance + sigma**2 * torch.eye(SIDE**2))
    rest = x.flatten(1) - means[labels]
    return (means[labels] + rest @ gain.T).view(x.shape)


@pytest.fixture(scope="module")
def trained() -> Trained:
    images, labels = drawn(600, 0)
    return TOY.train(to_unit(images).clamp(0, 1), labels, seeded())


def random_network(channels: int = 3, side: int = 16) -> Preconditioned:
    """A network whose last layer is not zero."""
    network = Preconditioned(UNet(8, 3, channels), torch.tensor(0.5), side)
    initialize(network, seeded())
    torch.nn.init.normal_(network.network.exit.weight, generator=seeded())
    return network.requires_grad_(False)


@pytest.mark.parametrize("sigma", [1e-3, 0.05, 0.7, 20.0])
def test_network_input_and_target_have_unit_variance(sigma: float) -> None:
    """What equation 7 is made for, for images of the deviation `spread`."""
    spread = torch.tensor(0.37, dtype=torch.float64)
    numbers = preconditioning(torch.tensor([sigma], dtype=torch.float64), spread)
    entering = numbers.inner**2 * (sigma**2 + spread**2)
    wanted = ((1 - numbers.skip) ** 2 * spread**2 + numbers.skip**2 * sigma**2) / numbers.out**2
    for value in (entering, wanted):
        torch.testing.assert_close(value, torch.ones_like(value))


def test_without_noise_the_denoiser_is_the_identity() -> None:
    network, x = random_network(), torch.randn(2, 3, 16, 16, generator=seeded())
    labels = torch.tensor([0, 2])
    assert torch.equal(network(x, torch.zeros(2), labels), x)
    nearly = network(x, torch.full((2,), 1e-3), labels)
    largest = float(network.network(x, torch.zeros(2), labels).abs().max())
    assert 0 < float((nearly - x).abs().max()) < 1e-2 * max(1.0, largest)


def test_an_untrained_denoiser_shrinks_and_has_unit_loss() -> None:
    network = Preconditioned(UNet(8, 3, 3), torch.tensor(0.5), 16)
    initialize(network, seeded())
    images = 0.5 * torch.randn(500, 3, 16, 16, generator=seeded())
    for level in (0.02, 0.5, 8.0):
        sigma = torch.full((500,), level)
        x = images + level * torch.randn(images.shape, generator=seeded(1))
        denoised = network(x, sigma, torch.zeros(500, dtype=torch.long))
        torch.testing.assert_close(denoised, x * 0.25 / (0.25 + level**2))
        loss = weighted_loss(denoised, images, sigma, network.spread).mean()
        assert abs(loss.item() - 1) < 0.02


def test_noise_of_the_training_is_log_normal() -> None:
    logs = training_noise(200_000, seeded()).log()
    assert abs(float(logs.mean()) + 1.2) < 0.02
    assert abs(float(logs.std()) - 1.2) < 0.02
    assert float(training_noise(200_000, seeded()).min()) == pytest.approx(LEAST_NOISE)


def test_learns_the_posterior_mean_of_a_gaussian(trained: Trained) -> None:
    """At every level the distance to the closed form is a small part of an untrained network's."""
    network = Denoiser.load(trained[0])
    images, labels = drawn(200, 7)
    for sigma, share in ((0.1, 0.6), (0.3, 0.45), (1.0, 0.4), (3.0, 0.4)):
        x = images + sigma * torch.randn(images.shape, generator=seeded(3))
        exact = posterior_mean(x, sigma, labels)
        levels = torch.full((200,), sigma)
        spread = network.spread
        untrained = x * spread**2 / (spread**2 + sigma**2)
        error = (network(x, levels, labels) - exact).square().mean().sqrt()
        assert error < share * (untrained - exact).square().mean().sqrt(), sigma
        # The other class has another mean, which the noise hides the more there is of it.
        other = (network(x, levels, 1 - labels) - exact).square().mean().sqrt()
        assert sigma < 0.3 or other > 1.5 * error, sigma


def test_an_unknown_class_is_that_of_images_shown_without_theirs(trained: Trained) -> None:
    network = Denoiser.load(trained[0])
    x, sigma = 3 * torch.randn(50, 1, SIDE, SIDE, generator=seeded()), torch.full((50,), 3.0)
    unknown, beyond, first, second = (
        network(x, sigma, torch.full((50,), label)).mean(0) for label in (2, 9, 0, 1)
    )
    assert torch.equal(unknown, beyond)
    # Means of the classes are mirror images; without the class their mean is left, which is 0.
    assert unknown.abs().mean() < 0.5 * min(first.abs().mean(), second.abs().mean())


def test_card_states_the_loss_on_images_held_out(trained: Trained) -> None:
    weights, card = trained
    assert (card["trained_on"], card["held_out"], card["classes"]) == (540, 60, 2)
    assert card["held_out_loss"] < 0.5 * card["held_out_loss_untrained"]
    network = Denoiser.load(weights)
    assert card["parameters"] == sum(value.numel() for value in network.parameters())
    images, labels = drawn(400, 11)
    again = denoiser.mean_loss(network, denoiser.noisy(images, labels, seeded()))
    assert 0.7 < again / card["held_out_loss"] < 1.4
    assert not any(value.requires_grad for value in network.parameters())


def test_published_width_is_small() -> None:
    network = UNet(Denoiser().width, 10, 3)
    assert 300_000 < sum(value.numel() for value in network.parameters()) < 1_000_000


@pytest.mark.parametrize(("side", "channels"), [(16, 3), (32, 1)])
def test_shape_is_read_back_from_the_weights(side: int, channels: int) -> None:
    network = random_network(channels, side)
    again = Denoiser.load(dict(network.state_dict()))
    assert (again.channels, again.size) == (channels, side)
    x = torch.randn(2, channels, side, side, generator=seeded())
    sigma, labels = torch.tensor([0.1, 2.0]), torch.tensor([0, 5])
    assert torch.equal(again(x, sigma, labels), network(x, sigma, labels))


def test_vmap_over_elements_equals_a_loop_and_no_image_sees_another() -> None:
    network = random_network()
    x, sigma = torch.randn(3, 2, 3, 16, 16, generator=seeded()), torch.rand(3, 2)
    labels = torch.tensor([[0, 1], [1, 2], [2, 9]])
    together = torch.vmap(network)(x, sigma, labels)
    for element in range(3):
        for image in range(2):
            alone = network(*(part[element, image : image + 1] for part in (x, sigma, labels)))
            torch.testing.assert_close(together[element, image], alone[0], rtol=1e-4, atol=1e-5)


def test_is_differentiable_in_the_noisy_images() -> None:
    network = random_network(1, 8).double()
    x = torch.randn(1, 1, 8, 8, dtype=torch.float64, generator=seeded()).requires_grad_()
    sigma, labels = torch.tensor([0.4], dtype=torch.float64), torch.tensor([1])
    assert torch.autograd.gradcheck(lambda value: network(value, sigma, labels), (x,))


def test_average_follows_by_its_decay_and_rate_rises_and_falls() -> None:
    pupil = Pupil(TOY, to_signed(torch.rand(8, 1, 8, 8)), torch.arange(8) % 2, seeded())
    before = pupil.average.network.exit.weight.clone()
    pupil.step(0)
    now = pupil.network.network.exit.weight
    # (1 + 0) / (10 + 0) of the average stays after the first step.
    torch.testing.assert_close(pupil.average.network.exit.weight, 0.1 * before + 0.9 * now)
    assert not torch.equal(before, now)
    rates = [pupil.rate(number) for number in (0, 99, 150, 300)]
    assert rates[0] == pytest.approx(TOY.learning_rate / 100)
    assert rates[1] == pytest.approx(0.755 * TOY.learning_rate, rel=0.01)
    assert rates[2] == pytest.approx(TOY.learning_rate / 2)
    assert rates[3] == pytest.approx(0)


class LeftError(Exception):
    """The job is over for now."""


class Interrupted:
    """A job that is asked to leave before every third step, and whose progress goes through JSON."""

    def __init__(self) -> None:
        self.asked = 0
        self.kept: tuple[dict[str, Tensor], str] | None = None

    def should_stop(self) -> bool:
        self.asked += 1
        return self.asked % 3 == 0

    def interrupt(self) -> None:
        raise LeftError

    def save_progress(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        self.kept = ({name: value.clone() for name, value in tensors.items()}, json.dumps(state))

    def load_progress(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        return None if self.kept is None else (self.kept[0], json.loads(self.kept[1]))


def test_a_training_that_was_stopped_ends_with_the_same_bits() -> None:
    short = Denoiser(width=8, steps=7, batch_size=4)
    images, labels = torch.rand(20, 3, 16, 16, generator=seeded()), torch.arange(20) % 3
    weights, card = short.train(images, labels, seeded())
    torch.manual_seed(99)
    job, stops = Interrupted(), 0
    while True:
        try:
            again, other = short.train(images, labels, seeded(), Checkpointer(job))
            break
        except LeftError:
            stops += 1
    assert stops == 3
    assert other == card
    assert all(torch.equal(value, again[name]) for name, value in weights.items())
