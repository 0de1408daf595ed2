"""Victim classifiers: shapes, parameter counts, a batch norm that equals PyTorch's, explicit seeds."""

import itertools

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

from gradsiege import catalogue
from gradsiege.models import ModelSpec, build
from gradsiege.models.layers import BatchNorm2d
from gradsiege.protocol.local_update import split_state

torch.set_num_threads(1)


def spec(name: str, size: int = 32, **changes: object) -> ModelSpec:
    entry = catalogue.entries("models")[name]
    return ModelSpec(name, entry.validate(dict(changes), "test"), 10, 3, size)


@pytest.mark.parametrize("name", list(catalogue.entries("models")))
def test_every_model_maps_images_to_logits_and_has_a_head(name: str) -> None:
    model = build(spec(name))
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    assert any(key.endswith("head.weight") for key, _ in model.named_parameters())
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_resnet18_has_the_published_number_of_parameters() -> None:
    assert sum(p.numel() for p in build(spec("resnet18")).parameters()) == 11_173_962


def test_densenet121_and_vgg11_have_the_published_numbers_of_parameters() -> None:
    # torchvision's DenseNet-121 at 10 classes holds 6,964,106; its 7x7 stem has 7,680 more than our 3x3, and its
    # stem's own batch norm 128.
    count = sum(p.numel() for p in build(spec("densenet121")).parameters())
    assert count == 6_964_106 - 64 * 3 * (49 - 9) - 128
    # Configuration A with batch norm: weights and biases, scale and shift, head.
    convolutions = [3, 64, 128, 256, 256, 512, 512, 512, 512]
    pairs = itertools.pairwise(convolutions)
    expected = sum(9 * a * b + b + 2 * b for a, b in pairs) + 512 * 10 + 10
    assert sum(p.numel() for p in build(spec("vgg11")).parameters()) == expected


def test_weights_depend_on_the_generator_and_on_nothing_else() -> None:
    torch.manual_seed(1)
    first = build(spec("convnet"), torch.Generator().manual_seed(3)).state_dict()
    torch.manual_seed(2)
    again = build(spec("convnet"), torch.Generator().manual_seed(3)).state_dict()
    other = build(spec("convnet"), torch.Generator().manual_seed(4)).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["body.head.weight"], other["body.head.weight"])


@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_equals_pytorch(training: bool) -> None:
    ours, theirs = BatchNorm2d(4).double(), nn.BatchNorm2d(4).double()
    generator = torch.Generator().manual_seed(0)
    for name, value in theirs.named_parameters():
        value.data = torch.rand(4, generator=generator, dtype=torch.float64) + 0.5
        ours.get_parameter(name).data = value.data.clone()
    x = torch.randn(6, 4, 5, 5, generator=generator, dtype=torch.float64)
    ours.train(training)
    theirs.train(training)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    left, right = ours(a), theirs(b)
    torch.testing.assert_close(left, right)
    left.square().sum().backward()
    right.square().sum().backward()
    torch.testing.assert_close(a.grad, b.grad)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)


def test_train_mode_works_under_vmap_and_leaves_the_module_alone() -> None:
    model = build(spec("convnet", width=4)).train()
    parameters, buffers = split_state(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}

    def run(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        state = {**parameters, **buffers}
        out = functional_call(model, state, (x,))
        return out, state["body.features.1.running_mean"]

    x = torch.rand(3, 2, 3, 32, 32)
    logits, means = vmap(run)(x)
    for index in range(3):
        alone, mean = run(x[index])
        torch.testing.assert_close(logits[index], alone)
        torch.testing.assert_close(means[index], mean)
    assert not torch.equal(means[0], before["body.features.1.running_mean"])
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_a_convnet_starts_finite_whatever_normalises_it_and_by_default_it_is_batch_norm(
    norm: str,
) -> None:
    model = build(spec("convnet", width=8, norm=norm))
    kinds = {"batch": nn.BatchNorm2d, "group": nn.GroupNorm, "none": nn.Identity}
    layers = [type(part) for part in model.modules() if isinstance(part, tuple(kinds.values()))]
    assert len(layers) == 3
    assert all(issubclass(kind, kinds[norm]) for kind in layers)
    layer = model.get_submodule("body.features.1")
    if norm != "none":
        assert torch.equal(layer.weight, torch.ones(8))
        assert torch.equal(layer.bias, torch.zeros(8))
    default = build(spec("convnet", width=8)).state_dict()
    if norm == "batch":
        assert all(torch.equal(value, default[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(("norm", "alone"), [("batch", False), ("group", True), ("none", True)])
def test_without_batch_norm_an_image_sees_no_other_in_train_mode(norm: str, alone: bool) -> None:
    model = build(spec("convnet", width=6, norm=norm)).train()
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    together = model(images)
    apart = torch.cat([model(image[None]) for image in images])
    assert torch.allclose(together, apart, atol=1e-5) == alone
