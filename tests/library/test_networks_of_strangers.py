"""Networks that would make an attack look weak, or end in an error of PyTorch: each is understood, or refused in one sentence."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune

import gradsiege as gs
from gradsiege.errors import ModelError

IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = [1, 3]


class CutOff(nn.Module):
    """A network whose trained head sees features without a derivative."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.body = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(144, 5)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        if self.how == "rounded":
            images = (255 * images).round() / 255
        with torch.set_grad_enabled(self.how != "no_grad"):
            features = self.body(images).relu().flatten(1)
        if self.how == "detached":
            features = features.detach()
        logits: Tensor = self.head(features)
        return logits


@pytest.mark.parametrize("how", ["no_grad", "detached", "rounded"])
def test_a_network_that_cuts_its_images_off_is_refused(how: str) -> None:
    """Without a gradient by the images every attack stays at its start, as if the network leaked nothing."""
    with pytest.raises(ModelError, match="no gradient by its images"):
        gs.observe(CutOff(how), IMAGES, LABELS)


def test_frozen_layers_and_a_head_of_zeros_are_not_taken_for_a_cut() -> None:
    network = CutOff("not at all")
    network.body.requires_grad_(False)
    nn.init.zeros_(network.head.weight)
    gs.observe(network, IMAGES, LABELS)


class TwoNames(nn.Module):
    """A network whose head is registered under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.ReLU())
        self.first = nn.utils.parametrizations.weight_norm(nn.Linear(5, 5))
        self.second = self.first
        self.head = nn.Linear(5, 5)
        self.again = nn.Sequential(self.head)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.again(self.second(self.first(self.body(images))))
        return logits


def test_a_layer_under_two_names_is_one_layer() -> None:
    torch.manual_seed(0)
    network = TwoNames()
    seen = gs.observe(network, IMAGES, LABELS)
    assert sorted(seen.update) == [
        f"body.{name}" for name in sorted(dict(network.named_parameters()))
    ]
    F.cross_entropy(network(IMAGES[:1]), torch.tensor(LABELS[:1])).backward()
    for name, value in network.named_parameters():
        assert value.grad is not None
        torch.testing.assert_close(seen.update[f"body.{name}"][0], value.grad)
    assert gs.attacks.InvertingGradients(iterations=2)(seen).labels.flatten().tolist() == LABELS
    assert network.second is network.first, "the user's network stays as it is"


class Noisy(nn.Module):
    """A network that draws from PyTorch's global generator in every mode."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(192, 5)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.head(F.dropout(images.flatten(1), 0.5))
        return logits


def test_the_seed_holds_for_a_network_that_draws_by_itself() -> None:
    torch.manual_seed(0)
    network, attack = Noisy(), gs.attacks.InvertingGradients(iterations=3)
    before = torch.get_rng_state()
    first, second, other = (gs.observe(network, IMAGES, LABELS, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before), "the user's own draws go on"
    for name, value in first.update.items():
        assert torch.equal(value, second.update[name])
    assert any(not torch.equal(value, other.update[name]) for name, value in first.update.items())
    assert torch.equal(attack(first).images, attack(first).images)


def pruned() -> nn.Module:
    """A network that holds weights which pruning computes."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    prune.l1_unstructured(network[1], "weight", 0.5)
    return network


def test_a_network_that_cannot_be_looked_at_is_refused() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    for network, message in (
        (torch.jit.script(layers), "before torch.jit.script or torch.jit.trace"),
        (torch.jit.trace(layers, IMAGES), "before torch.jit.script or torch.jit.trace"),
        (pruned(), r"cannot be copied: .* call prune\.remove"),
    ):
        with pytest.raises(ModelError, match=message):
            gs.observe(network, IMAGES, LABELS)


class OnlyTwo(nn.Module):
    """A network that takes batches of two images, as an exported one does."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(192, 5)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        assert len(images) == 2, "guard failed"
        logits: Tensor = self.head(images.flatten(1))
        return logits


def test_a_network_of_one_batch_size_is_refused() -> None:
    with pytest.raises(ModelError, match=r"two or one at a time: AssertionError: guard failed"):
        gs.observe(OnlyTwo(), IMAGES, LABELS)


class OfDoublePrecision(nn.Module):
    """Computes in float64: by its own cast of the images, or as its weights are."""

    def __init__(self, casts: bool) -> None:
        super().__init__()
        self.casts = casts
        self.body = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(48), nn.Linear(48, 3)).double()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.body(images.double() if self.casts else images)
        return logits


def test_a_network_that_computes_in_float64_alone_is_refused() -> None:
    images, labels = torch.rand(1, 3, 4, 4), torch.tensor([2])
    with pytest.raises(
        gs.GradSiegeError, match=r"computes in float64 alone.*attacks compute in float32"
    ):
        gs.observe(OfDoublePrecision(casts=True), images, labels)
    seen = gs.observe(OfDoublePrecision(casts=False), images, labels)
    result = gs.attacks.InvertingGradients(iterations=1)(seen)
    assert result.reconstruction.images.dtype == torch.float32
