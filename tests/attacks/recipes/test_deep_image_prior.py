"""The deep image prior: an untrained network is prior enough, and its weights belong to one element."""

from dataclasses import replace

import pytest
import torch
from generator_victims import errors, natural_victims, trained_prior
from textbook import gradients, scene
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from victims import SIDE

from gradsiege.attacks import recipes
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.optimizers.gradient import Adam
from gradsiege.attacks.recipes.deep_image_prior import DeepImagePrior
from gradsiege.attacks.reconstruct import reconstruct, starting_points
from gradsiege.attacks.spaces.generator import UntrainedNetwork
from gradsiege.attacks.spaces.untrained_network import OverParameterisedNetwork
from gradsiege.models.layers import initialize
from gradsiege.protocol.threat_model import ThreatModel

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


class Published(nn.Module):
    """CI-Net's generator from PyTorch's own layers: spectral norm, batch norm in train mode, nearest doublings."""

    def __init__(self, latent: int, width: int, doublings: int) -> None:
        super().__init__()
        self.entry = nn.Linear(latent, width * 16)
        self.norm = nn.BatchNorm2d(width)
        self.convolutions = nn.ModuleList(
            spectral_norm(nn.Conv2d(width, width, 3, padding=1)) for _ in range(2 * doublings + 2)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(2 * doublings + 2))
        self.image = nn.Conv2d(width, 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = nn.functional.leaky_relu(self.norm(self.entry(z).view(len(z), -1, 4, 4)), 0.1)
        for place, (convolution, norm) in enumerate(
            zip(self.convolutions, self.norms, strict=True)
        ):
            if place and place % 2 == 0:
                x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
            x = nn.functional.leaky_relu(norm(convolution(x)), 0.1)
        return (1 + torch.tanh(self.image(x))) / 2


def test_for_one_image_the_network_is_the_published_one_in_values_and_derivatives() -> None:
    """Weights of the convolutions, gains and biases are copied; the spectral norm changes nothing."""
    random = torch.Generator().manual_seed(3)
    network = OverParameterisedNetwork(5, 8, 3, 16).double()
    published = Published(5, 8, 2).double().train()
    norms = [network.norm, *(n for b in network.blocks for n in (b.first_norm, b.second_norm))]
    theirs = [published.norm, *published.norms]
    convolutions = [c for b in network.blocks for c in (b.first, b.second)]
    with torch.no_grad():
        for ours, other in zip(norms, theirs, strict=True):
            ours.gain.copy_(1 + 0.3 * torch.randn(8, generator=random))
            ours.bias.copy_(0.3 * torch.randn(8, generator=random))
            other.weight.copy_(ours.gain)
            other.bias.copy_(ours.bias)
        for ours, other in zip(convolutions, published.convolutions, strict=True):
            other.parametrizations.weight.original.copy_(ours.weight)
            other.bias.copy_(ours.bias)
        published.entry.load_state_dict(network.entry.state_dict())
        published.image.load_state_dict(network.image.state_dict())
    z = torch.randn(1, 5, generator=random).double()
    made, expected = network(z), published(z)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-3)
    weighting = torch.randn(made.shape, generator=random)
    slopes = torch.autograd.grad((made * weighting).sum(), [c.weight for c in convolutions])
    originals = [c.parametrizations.weight.original for c in published.convolutions]
    for slope, other in zip(
        slopes, torch.autograd.grad((expected * weighting).sum(), originals), strict=True
    ):
        assert (slope - other).norm() < 0.01 * slope.norm()


def test_a_start_begins_with_the_norm_alone() -> None:
    network = OverParameterisedNetwork(5, 4, 3, SIDE)
    with torch.no_grad():
        network.norm.gain.fill_(7.0)
    initialize(network, torch.Generator())
    assert (network.norm.gain == 1).all()
    assert not network.blocks[0].second_norm.bias.any()


@pytest.mark.parametrize("signed", [True, False])
def test_the_attack_is_a_textbook_loop_over_the_weights(signed: bool) -> None:
    """Adam with signed gradients at a constant step; the end is the iterate of least 1 - cos."""
    model, seen, _ = scene(kind=torch.float32)
    knowledge = Knowledge(seen, ThreatModel(id="t", labels="given"))
    attack = DeepImagePrior(iterations=5, width=4, signed=signed)
    recipe = attack.recipe(knowledge)
    start = starting_points(recipe.phases[0], 1, 1, ("s",))
    network = OverParameterisedNetwork(128, 4, 3, 16)
    with torch.no_grad():
        for name, value in network.named_parameters():
            value.copy_(start[f"weights.{name}"][0])
    observed = {name: value[0] for name, value in seen.update.items()}
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    images, losses = [], []
    for _ in range(6):
        image = network(start["z"][0])
        candidate = gradients(model, image)
        product = sum((candidate[name] * value).sum() for name, value in observed.items())
        ours = sum(value.square().sum() for value in candidate.values())
        theirs = sum(value.square().sum() for value in observed.values())
        loss = 1 - product / (ours.sqrt() * theirs.sqrt())
        images.append(image.detach())
        losses.append(loss.item())
        parameters = list(network.parameters())
        for value, slope in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            value.grad = slope.sign() if signed else slope
        optimizer.step()
    found = reconstruct(knowledge, recipe, 1, ("s",))
    place = min(range(6), key=losses.__getitem__)
    assert float(found.matching_loss[0]) == pytest.approx(losses[place], rel=1e-3)
    # Biases in front of a norm have no gradient but round-off, whose sign is anything; they change nothing.
    torch.testing.assert_close(found.images[0], images[place], rtol=0, atol=2e-3)
