"""Any classifier is attacked, and stays as it is: published architectures, odd layers, other number formats."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from small_classifiers import ATTACK, small
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig

import gradsiege as gs
from gradsiege.errors import ModelError
from gradsiege.models.adapted import adapt


class Odd(nn.Module):
    """Grey, not square; batch norms of one and two dimensions, group norm, dropout; tied and unused weights, a head without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.groups, self.dropout = nn.GroupNorm(2, 4), nn.Dropout(0.5)
        self.flat, self.tied = nn.BatchNorm1d(4 * 16), nn.Linear(64, 64)
        self.unused, self.fc = nn.Linear(3, 3), nn.Linear(64, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.groups(self.first(x)), 4).flatten(1)
        x = self.dropout(self.flat(x))
        logits: Tensor = self.fc(torch.relu(self.tied(torch.relu(self.tied(x)))))
        return logits


class WithLogits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = small()

    def forward(self, x: Tensor) -> Any:
        @dataclass
        class Output:
            logits: Tensor

        return Output(self.network(x))


def unbiased(network: nn.Module) -> nn.Module:
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.register_parameter("bias", None)
    return network


NETWORKS: dict[str, tuple[Any, tuple[int, int, int]]] = {
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=5), (3, 32, 32)),
    "densenet": (
        lambda: torchvision.models.DenseNet(8, (2, 2), 16, num_classes=5),
        (3, 32, 32),
    ),
    "mobilenet_v3_small": (
        lambda: torchvision.models.mobilenet_v3_small(num_classes=5),
        (3, 32, 32),
    ),
    "vision transformer": (
        lambda: torchvision.models.VisionTransformer(16, 8, 1, 2, 16, 32, num_classes=5),
        (3, 16, 16),
    ),
    "convnext": (
        lambda: torchvision.models.ConvNeXt(
            [CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=5
        ),
        (3, 32, 32),
    ),
    "odd": (Odd, (1, 18, 30)),
    "logits": (WithLogits, (3, 16, 16)),
    "no norm, no bias": (lambda: unbiased(small()), (3, 16, 16)),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("engine", ["loop", "vmap", "factored"])
def test_any_classifier_is_attacked_by_every_engine(name: str, engine: str) -> None:
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    network, images = make().eval(), torch.rand(2, *shape)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    seen = gs.observe(network, images, torch.tensor([1, 4]))
    result = ATTACK(seen, gs.ThreatModel(labels="given"), engine=engine)
    assert result.images.shape == images.shape
    assert result.matching_loss.isfinite().all()
    assert not result.failures
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def narrow_vgg16() -> nn.Module:
    """All of VGG16 but the width of its two hidden linear layers: in full they take a minute and 7 GB."""
    network = torchvision.models.vgg16()
    network.classifier[0], network.classifier[3] = nn.Linear(512 * 49, 64), nn.Linear(64, 64)
    network.classifier[6] = nn.Linear(64, 5)
    return network


PUBLISHED: dict[str, Any] = {
    "resnet18": lambda: torchvision.models.resnet18(num_classes=5),
    "vgg16": narrow_vgg16,
    "densenet121": lambda: torchvision.models.densenet121(num_classes=5),
    "mobilenet_v3_small": lambda: torchvision.models.mobilenet_v3_small(num_classes=5),
    "vit_b_16": lambda: torchvision.models.vit_b_16(image_size=32, num_classes=5),
    "convnext_tiny": lambda: torchvision.models.convnext_tiny(num_classes=5),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_architecture_is_attacked_blindly(name: str) -> None:
    torch.manual_seed(0)
    network, image = PUBLISHED[name]().eval(), torch.rand(1, 3, 32, 32)
    seen = gs.observe(network, image, torch.tensor([3]))
    result = replace(ATTACK, iterations=2)(seen, engine="loop")
    assert result.labels.tolist() == [3]
    assert result.images.shape == image.shape
    assert result.matching_loss.isfinite().all()
    assert not result.failures


@pytest.mark.parametrize("name", NETWORKS)
def test_labels_are_inferred_from_any_classifier(name: str) -> None:
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    network, images, labels = make().eval(), torch.rand(2, *shape), torch.tensor([1, 4])
    seen = gs.observe(network, images, labels)
    assert torch.equal(replace(ATTACK, iterations=2)(seen, engine="loop").labels, labels)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_adapted_network_has_the_logits_and_the_gradient_of_the_original(name: str) -> None:
    make, shape = NETWORKS[name]
    torch.manual_seed(1)
    network, image, label = make().eval().double(), torch.rand(1, *shape), torch.tensor([2])
    logits = network(image.double())
    logits = getattr(logits, "logits", logits)
    wanted = torch.autograd.grad(
        F.cross_entropy(logits, label), list(network.parameters()), materialize_grads=True
    )
    seen = gs.observe(network, image, label)
    names = [key for key, _ in network.named_parameters()]
    for key, value in zip(names, wanted, strict=True):
        assert torch.allclose(seen.update[f"body.{key}"][0], value, rtol=1e-6, atol=1e-10), key


def test_batch_norm_in_train_mode_writes_into_nothing_and_dropout_draws_from_the_client() -> None:
    images, labels = torch.rand(4, 1, 18, 30), torch.tensor([0, 1, 2, 3])
    training = gs.LocalTraining("fedsgd", 4, 4, 1, 0.1, "train")
    state = torch.get_rng_state()
    torch.manual_seed(3)
    network = Odd()
    torch.set_rng_state(state)
    first, same, other = (
        gs.observe(network, images, labels, images_per_client=4, training=training, seed=seed)
        for seed in (0, 0, 1)
    )
    key = "body.fc.weight"
    assert torch.equal(first.update[key], same.update[key])
    assert not torch.equal(first.update[key], other.update[key])
    assert torch.equal(state, torch.get_rng_state())
    mean = network.get_buffer("first.1.running_mean")
    assert torch.equal(first.buffers["body.first.1.running_mean"], mean)
    assert not mean.any()


def test_normalisation_is_the_attackers_too() -> None:
    network, image = small(), torch.rand(1, 3, 16, 16)
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
    scaled = (image - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    seen = gs.observe(network, image, torch.tensor([1]), normalisation=(mean, std))
    loss = F.cross_entropy(network(scaled), torch.tensor([1]))
    wanted = torch.autograd.grad(loss, list(network.parameters()))
    for value, observed in zip(wanted, seen.update.values(), strict=True):
        assert torch.allclose(observed[0], value, atol=1e-6)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_gradient_mode_changes_nothing(mode: Any) -> None:
    images, labels = torch.rand(1, 3, 16, 16), torch.tensor([1])
    wanted = ATTACK(gs.observe(small(), images, labels)).images
    with mode():
        inside = ATTACK(gs.observe(small(), images * 1, labels)).images
    assert torch.equal(inside, wanted)


def test_a_network_in_float64_is_attacked_in_float32() -> None:
    images, labels = torch.rand(1, 3, 16, 16).double(), torch.tensor([1])
    seen = gs.observe(small().double(), images, labels)
    assert seen.update["body.0.weight"].dtype == torch.float64
    result = ATTACK(seen)
    assert result.images.dtype == torch.float32
    assert result.labels.tolist() == [1]
    assert torch.equal(result.images, ATTACK(seen.to(torch.device("cpu"), torch.float32)).images)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_of_too_few_digits_is_one_sentence(dtype: torch.dtype) -> None:
    with pytest.raises(ModelError, match=f"the weight 0.weight holds {dtype}; .*float32"):
        gs.observe(small().to(dtype), torch.rand(1, 3, 16, 16), torch.tensor([1]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a second device is an NVIDIA GPU")
def test_a_network_on_another_device_gives_the_same_observation() -> None:
    images, labels = torch.rand(1, 3, 16, 16), torch.tensor([1])
    defense = gs.defenses.Gaussian(sigma=0.1)
    wanted = gs.observe(small(), images, labels, defense)
    seen = gs.observe(small().cuda(), images.cuda(), labels.cuda(), defense)
    assert all(torch.equal(seen.update[name], value) for name, value in wanted.update.items())


def test_the_network_itself_is_left_as_it_is() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 196, 2)
    )
    adapt(network, (3, 16, 16))
    assert network[1].inplace
    assert type(network[1]) is nn.ReLU
