"""SPEAR as an attack: images, labels and their order from the gradient of a perceptron's first layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gradsiege import defenses
from gradsiege.attacks.recipes.spear import Spear
from gradsiege.errors import ThreatModelError
from gradsiege.federated.observing import observe
from gradsiege.models.mlp import MLP
from gradsiege.protocol.local_update import LocalTraining
from gradsiege.protocol.threat_model import ThreatModel


def scene(batch: int, victims: int = 2, **more: Any) -> tuple[Any, Tensor, Tensor]:
    """An observation of an untrained perceptron, and the truth in batches."""
    generator = torch.Generator().manual_seed(0)
    model = MLP(width=120).build(10, 3, 8, generator)
    images = torch.rand(batch * victims, 3, 8, 8, generator=generator)
    labels = torch.randint(10, (batch * victims,), generator=generator)
    seen = observe(model, images, labels, images_per_client=batch, **more)
    return seen, images.view(victims, batch, 3, 8, 8), labels.view(victims, batch)


@pytest.mark.parametrize("batch", [1, 4, 8])
def test_images_and_labels_come_back_together(batch: int) -> None:
    seen, truth, labels = scene(batch)
    found = Spear()(seen, ThreatModel(id="own")).reconstruction
    for victim in range(2):
        distances = torch.cdist(truth[victim].flatten(1), found.images[victim].flatten(1))
        order = distances.argmin(1)
        assert sorted(order.tolist()) == list(range(batch))
        assert distances.amin(1).max() < 1e-3
        assert torch.equal(found.labels[victim][order], labels[victim])
    assert found.matching_loss.abs().max() < 1e-4


def test_equal_calls_give_equal_images() -> None:
    seen, _, _ = scene(4)
    first, second = (Spear()(seen).reconstruction.images for _ in range(2))
    assert torch.equal(first, second)


def test_a_noisy_update_has_no_exact_solution() -> None:
    seen, truth, _ = scene(3, defense=defenses.Gaussian(sigma=0.1))
    found = Spear(tries=1024)(seen).reconstruction
    errors = (found.images[:, :, None] - truth[:, None]).square().flatten(3).mean(3)
    assert not errors.nan_to_num(1.0).amin() < 0.01


def test_other_networks_and_protocols_are_refused() -> None:
    from gradsiege.models.convnet import ConvNet

    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 16, 16, generator=generator)
    seen = observe(ConvNet(width=4).build(10, 3, 16, generator), images, torch.tensor([1, 2]))
    with pytest.raises(ThreatModelError, match="begins with a linear layer"):
        Spear()(seen)
    steps = LocalTraining("fedavg", 2, 1, 1, 0.1, "eval")
    several, _, _ = scene(2, training=steps)
    with pytest.raises(ThreatModelError, match="one local step"):
        Spear()(several)
