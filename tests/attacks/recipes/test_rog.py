"""ROG: its objective and its enhancement against their formulas, and an image that its codes can express."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gradsiege.attacks.counters.quantization import LevelLikelihood
from gradsiege.attacks.counters.sign import SignLikelihood
from gradsiege.attacks.engine.objective import Problem, element_cost
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.matching import plan_of
from gradsiege.attacks.recipes.rog import Rog, enhanced
from gradsiege.attacks.spaces.autoencoder_codes import CODE, AutoencoderCodes
from gradsiege.errors import ThreatModelError
from gradsiege.federated.observing import observe
from gradsiege.models import build
from gradsiege.models.lenet import LeNet
from gradsiege.priors.autoencoder import AutoencoderNetwork
from gradsiege.priors.base import TrainedPrior
from gradsiege.priors.denoiser.network import Preconditioned, UNet
from gradsiege.protocol.local_update import loss
from gradsiege.protocol.threat_model import ThreatModel

Scenes = Callable[..., Any]
INFORMED = ThreatModel(id="informed", labels="given", disclosure=True)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def coder(channels: int = 3) -> TrainedPrior:
    """An autoencoder whose weights are planted; its decoder's images are what its codes can express."""
    network = AutoencoderNetwork(channels)
    generator = seeded(1)
    for value in network.parameters():
        value.data = torch.randn(value.shape, generator=generator) * 0.12
    return TrainedPrior("autoencoder", dict(network.state_dict()), {"held_out_error_mean": 0.01})


def denoising(classes: int = 10, side: int = 16) -> TrainedPrior:
    """A denoiser whose weights are planted."""
    network = Preconditioned(UNet(8, classes, 3), torch.tensor(0.5), side)
    generator = seeded(2)
    for value in network.parameters():
        value.data = torch.randn(value.shape, generator=generator) * 0.1
    return TrainedPrior("denoiser", dict(network.state_dict()), {})


def test_the_objective_is_the_squared_distance_of_gradients_at_the_decoded_image(
    defended: Scenes,
) -> None:
    scene = defended("quantization").double()
    seen = replace(scene.seen, labels=scene.labels)
    prior = coder()
    prior = replace(prior, weights={k: v.double() for k, v in prior.weights.items()})
    knowledge = Knowledge(seen, INFORMED, (prior,))
    (phase,) = Rog(iterations=3).recipe(knowledge).phases
    space = phase.space
    assert isinstance(space, AutoencoderCodes)
    space.network.double()
    network = build(seen.model).double()
    code = torch.rand(1, 48, 2, 2, generator=seeded(), dtype=torch.float64)
    observed = {name: value[0] for name, value in seen.update.items()}
    cost = element_cost(Problem(network, seen, seen.training, phase))
    total, _ = cost({CODE: code}, scene.labels[0], observed, torch.zeros(()), {})

    image = space.network.decoder(code)
    leaves = {name: value.requires_grad_() for name, value in seen.parameters.items()}
    value, _ = loss(network, leaves, seen.buffers, image, scene.labels[0])
    gradients = torch.autograd.grad(value, list(leaves.values()))
    expected = sum(
        float((gradient - observed[name]).square().sum())
        for name, gradient in zip(leaves, gradients, strict=True)
    )
    assert float(total) == pytest.approx(expected, rel=1e-9)


def test_an_image_of_the_decoder_is_found_from_its_update() -> None:
    prior = coder()
    network = AutoencoderNetwork(3)
    network.load_state_dict(prior.weights)
    with torch.no_grad():
        truth = network.decoder(torch.rand(2, 48, 2, 2, generator=seeded(5)))
    model = LeNet(channels=12, initial_range=0.5).build(10, 3, 16, seeded())
    seen = observe(model, truth, torch.tensor([1, 2]))
    seen = replace(seen, labels=torch.tensor([[1], [2]]))
    result = Rog(iterations=80)(seen, INFORMED, prior)
    errors = (result.reconstruction.images[:, 0] - truth).square().mean((1, 2, 3))
    start = Rog(iterations=1)(seen, INFORMED, prior)
    before = (start.reconstruction.images[:, 0] - truth).square().mean((1, 2, 3))
    assert (errors < before / 4).all()


def test_codes_begin_and_stay_where_the_encoder_puts_them() -> None:
    network = AutoencoderNetwork(3).requires_grad_(False)
    space = AutoencoderCodes(network, 2, torch.zeros(3), torch.ones(3), shape=(3, 16, 16))
    start = space.start(seeded())
    assert start[CODE].shape == (2, 48, 2, 2)
    assert start[CODE].min() >= 0
    pushed = space.project({CODE: start[CODE] - 1})
    assert torch.equal(pushed[CODE], (start[CODE] - 1).clamp_min(0))
    normalised, images = space.decode(start, torch.zeros(2))
    assert torch.equal(normalised, images)
    assert images.shape == (2, 3, 16, 16)


def formula(image: Tensor, label: int, network: Preconditioned, sigma: float) -> Tensor:
    """(D(x; sigma, y) + D(x; sigma)) / 2 of one image, in [0, 1]."""
    x, noise = (2 * image - 1)[None], torch.tensor([sigma], dtype=image.dtype)
    estimates = [network(x, noise, torch.tensor([y])) for y in (label, network.network.classes)]
    return (((estimates[0] + estimates[1]) / 2 + 1) / 2).clamp(0, 1)[0]


def test_the_enhancement_averages_the_estimates_with_and_without_the_class() -> None:
    network = Preconditioned(UNet(8, 3, 3), torch.tensor(0.5), 16)
    network.load_state_dict(denoising(3).weights)
    network = network.double().requires_grad_(False)
    images = torch.rand(3, 1, 3, 16, 16, generator=seeded(4), dtype=torch.float64)
    images[1] = torch.nan
    labels = torch.tensor([[0], [1], [7]])
    result = enhanced(images, labels, network, 0.3)
    assert result[1].isnan().all()
    # Class 7 is one that the denoiser never saw: any.
    for victim, label in ((0, 0), (2, 3)):
        expected = formula(images[victim, 0], label, network, 0.3)
        torch.testing.assert_close(result[victim, 0], expected)
    assert not torch.allclose(result[0], images[0], atol=1e-3)
    # Without noise the denoiser is the identity.
    torch.testing.assert_close(enhanced(images, labels, network, 1e-12)[0], images[0])


def test_a_denoiser_enhances_what_the_match_alone_finds(defended: Scenes) -> None:
    scene = defended("top_k")
    seen = replace(scene.seen, labels=scene.labels)
    plain = Rog(iterations=3)(seen, INFORMED, coder()).reconstruction
    both = Rog(iterations=3)(seen, INFORMED, (coder(), denoising())).reconstruction
    network = Preconditioned(UNet(8, 10, 3), torch.tensor(0.5), 16)
    network.load_state_dict(denoising().weights)
    # Twice the autoencoder's root mean square error of 0.1, since images are in [-1, 1] there.
    torch.testing.assert_close(both.images, enhanced(plain.images, scene.labels, network, 0.2))
    assert not torch.allclose(both.images, plain.images, atol=1e-3)


@pytest.mark.parametrize(
    ("defense", "law"), [("quantization", LevelLikelihood), ("sign", SignLikelihood)]
)
def test_a_counter_states_the_law_of_the_compression(
    defense: str, law: type, defended: Scenes
) -> None:
    scene = defended(defense)
    knowledge = Knowledge(scene.seen, INFORMED, (coder(),))
    (phase,) = plan_of(Rog(counter=f"{defense}.likelihood"), knowledge).recipe.phases
    assert isinstance(phase.distance, law)
    assert isinstance(phase.space, AutoencoderCodes)


def test_it_needs_an_autoencoder_of_the_images_shape(defended: Scenes) -> None:
    seen = defended("none").seen
    with pytest.raises(ThreatModelError, match="rog needs a prior of the kind autoencoder"):
        Rog().recipe(Knowledge(seen, INFORMED))
    with pytest.raises(ThreatModelError, match=r"does not take images of shape \[3, 16, 16\]"):
        Rog().recipe(Knowledge(seen, INFORMED, (coder(channels=1),)))
