"""The head is found by what happens in a forward pass: names, ties, missing biases and what lies behind it do not matter."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torchvision.models as zoo
from torch import Tensor, nn

from gradsiege import catalogue
from gradsiege.errors import StudyError
from gradsiege.models import ModelSpec, build
from gradsiege.models.head import Head, find_head, head_of, probe_images
from gradsiege.models.layers import allocate, initialize
from gradsiege.protocol.local_update import split_state

torch.set_num_threads(1)
CLASSES = 7
SMALL = {
    "lenet": {},
    "mlp": {"width": 8},
    "convnet": {"width": 4},
    "resnet18": {"width": 4},
    "vgg11": {"width": 4},
    "vgg16": {"width": 4},
    "densenet121": {"growth": 4},
    "vit_small": {"depth": 1},
}


def small_vgg() -> nn.Module:
    """VGG-16 with narrow linear layers: the published ones hold half a gigabyte."""
    with torch.device("meta"):
        model = zoo.vgg16(weights=None, num_classes=CLASSES)
        model.classifier[0] = nn.Linear(512 * 49, 8)
        model.classifier[3] = nn.Linear(8, 8)
        model.classifier[6] = nn.Linear(8, CLASSES)
    allocate(model)
    initialize(model, torch.Generator().manual_seed(0))
    return model


# The network, the head's module, and whether its inputs can be negative.
ZOO: dict[str, tuple[Callable[[], nn.Module], str, bool]] = {
    "resnet18": (lambda: zoo.resnet18(num_classes=CLASSES), "fc", False),
    "vgg16": (small_vgg, "classifier.6", False),
    "densenet121": (lambda: zoo.densenet121(num_classes=CLASSES), "classifier", False),
    "mobilenet_v3_small": (
        lambda: zoo.mobilenet_v3_small(num_classes=CLASSES),
        "classifier.3",
        True,
    ),
    "vit_b_16": (
        lambda: zoo.VisionTransformer(32, 16, 2, 2, 16, 32, num_classes=CLASSES),
        "heads.head",
        True,
    ),
    "convnext_tiny": (
        lambda: zoo.ConvNeXt(
            [zoo.convnext.CNBlockConfig(8, 16, 1), zoo.convnext.CNBlockConfig(16, None, 1)],
            num_classes=CLASSES,
        ),
        "classifier.2",
        True,
    ),
}


@pytest.mark.parametrize("name", ZOO)
def test_the_heads_of_torchvision_are_found_whatever_they_are_called(name: str) -> None:
    make, layer, signed = ZOO[name]
    model = make().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    head = find_head(model, probe_images((3, 32, 32)))
    assert head == Head(f"{layer}.weight", f"{layer}.bias", layer, signed)
    assert head.typical is not None
    assert head.typical.shape == (model.get_parameter(head.weight).shape[1],)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(part.training for part in model.modules())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", list(catalogue.entries("models")))
@pytest.mark.parametrize("bottleneck", [0, 6])
def test_only_the_transformer_and_what_has_a_bottleneck_have_signed_features(
    name: str, bottleneck: int
) -> None:
    spec = ModelSpec(name, SMALL[name], 10, 3, 32, bottleneck)
    parameters, buffers = split_state(build(spec, torch.Generator().manual_seed(2)))
    head = head_of(spec, {**parameters, **buffers})
    layer = "body.head.head" if bottleneck else "body.head"
    assert head.parameters == (f"{layer}.weight", f"{layer}.bias")
    assert head.signed is (name == "vit_small" or bottleneck > 0)


def test_what_is_signed_follows_the_weights_of_the_state_and_not_the_modules_own() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Linear(5, 3))
    images = torch.ones(1, 3, 2, 2)
    state = {name: torch.ones_like(value) for name, value in model.named_parameters()}
    assert not find_head(model, images, state).signed
    state["1.weight"] = -2 * state["1.weight"]
    head = find_head(model, images, state)
    assert head.signed
    assert head.typical is not None
    torch.testing.assert_close(head.typical, torch.full((5,), -23.0))


class Ending(nn.Module):
    """Two linear layers, and something that is done to the logits."""

    def __init__(self, end: Callable[[Tensor], Tensor], bias: bool = True) -> None:
        super().__init__()
        self.later = nn.Linear(4, 3, bias=bias)  # used last, defined first
        self.first = nn.Linear(12, 4)
        self.end = end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.later(self.first(x.flatten(1)).relu()))


@pytest.mark.parametrize(
    "end", [lambda z: z, lambda z: F.log_softmax(z, 1), lambda z: F.dropout(z, 0.0) + 2]
)
def test_a_head_may_be_defined_first_and_followed_by_what_no_gradient_sees(
    end: Callable[[Tensor], Tensor],
) -> None:
    assert find_head(Ending(end), torch.rand(2, 3, 2, 2)).layer == "later"


def test_a_head_without_a_bias_says_so_and_names_who_needs_one() -> None:
    head = find_head(Ending(nn.Identity(), bias=False), torch.rand(2, 3, 2, 2))
    assert head.parameters == ("later.weight",)
    with pytest.raises(StudyError, match=r"label_rule 'x' reads the bias .*'later' has no bias"):
        head.bias_for("label_rule 'x'")


class Tied(nn.Module):
    """A head whose weight is that of a layer below it, by a module or by a function alone."""

    def __init__(self, module: bool) -> None:
        super().__init__()
        self.below = nn.Linear(12, 12, bias=False)
        self.head = nn.Linear(12, 12) if module else None
        if self.head is not None:
            self.head.weight = self.below.weight

    def forward(self, x: Tensor) -> Tensor:
        h = self.below(x.flatten(1)).relu()
        return self.head(h) if self.head is not None else F.linear(h, self.below.weight)


def test_a_tied_weight_bears_the_name_that_updates_give_it() -> None:
    images = torch.rand(2, 3, 2, 2)
    by_module, by_function = (find_head(Tied(module), images) for module in (True, False))
    assert by_module == Head("below.weight", "head.bias", "head", False)
    assert by_function.parameters == ("below.weight",)
    assert set(by_module.parameters) <= dict(Tied(True).named_parameters()).keys()


@pytest.mark.parametrize("name", ["squeezenet", "scaled"])
def test_a_network_that_ends_in_something_else_is_refused_in_a_sentence(name: str) -> None:
    model = (
        zoo.squeezenet1_1(num_classes=CLASSES)
        if name == "squeezenet"
        else Ending(lambda z: torch.tanh(z))
    )
    with pytest.raises(StudyError, match="do not come out of a linear layer"):
        find_head(model, probe_images((3, *[32 if name == "squeezenet" else 2] * 2)))
