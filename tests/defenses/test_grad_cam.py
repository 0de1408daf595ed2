"""Grad-CAM and Grad-CAM++ against their definitions and against the grad-cam library."""

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from gradsiege.defenses import grad_cam
from gradsiege.defenses.grad_cam import channel_coefficients, convolutions
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import split_state

torch.set_num_threads(1)
SPECS = {
    "convnet": (ModelSpec("convnet", {"width": 4}, 5, 3, 32), lambda model: model.body.features),
    "resnet18": (ModelSpec("resnet18", {"width": 4}, 5, 3, 32), lambda model: model.body.blocks[7]),
}


@pytest.mark.parametrize("name", SPECS)
def test_agrees_with_the_library(name: str) -> None:
    spec, target = SPECS[name]
    model = build(spec, torch.Generator().manual_seed(0))
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    classes = torch.tensor([0, 3, 1, 4])
    found = grad_cam.class_activation_plus_plus(model, *split_state(model), images, classes)
    with GradCAMPlusPlus(model=model, target_layers=[target(model)]) as cam:
        wanted = cam(images, [ClassifierOutputTarget(int(label)) for label in classes])
        recorded = cam.activations_and_grads
        raw = cam.get_cam_image(
            images, None, None, recorded.activations[0].numpy(), recorded.gradients[0].numpy()
        )
        own = grad_cam.grad_cam_plus_plus(recorded.activations[0], recorded.gradients[0])
    assert np.allclose(own.numpy(), np.maximum(raw, 0), rtol=1e-4, atol=1e-9)
    assert found.shape == (4, 32, 32)
    # The library adds 1e-7 to the maximum before it divides, which tells on the smallest maps.
    assert np.abs(found.numpy() - wanted).max() < 2e-3


def test_each_image_is_explained_by_its_own_class_alone() -> None:
    spec, _ = SPECS["resnet18"]
    model = build(spec, torch.Generator().manual_seed(0))
    state = split_state(model)
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    together = grad_cam.class_activation_plus_plus(model, *state, images, torch.tensor([0, 1, 2]))
    for i in range(3):
        alone = grad_cam.class_activation_plus_plus(
            model, *state, images[i : i + 1], torch.tensor([i])
        )
        assert torch.allclose(together[i], alone[0], atol=1e-4)
    others = grad_cam.class_activation_plus_plus(model, *state, images, torch.tensor([1, 2, 3]))
    assert (together - others).abs().max() > 0.05


def test_the_model_keeps_its_mode_hooks_and_buffers() -> None:
    spec, _ = SPECS["convnet"]
    model = build(spec, torch.Generator().manual_seed(0)).train()
    parameters, buffers = split_state(model)
    images = torch.rand(2, 3, 32, 32)
    before = images.clone()
    grad_cam.class_activation_plus_plus(model, parameters, buffers, images, torch.tensor([0, 1]))
    assert model.training
    assert not images.requires_grad
    assert torch.equal(images, before)
    assert not any(part._forward_hooks for part in model.modules())
    assert all(torch.equal(buffers[name], value) for name, value in model.named_buffers())


def test_a_model_without_feature_maps_is_refused() -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))
    with pytest.raises(ValueError, match="convolutional"):
        grad_cam.class_activation_plus_plus(
            model, *split_state(model), torch.rand(1, 3, 2, 2), torch.tensor([0])
        )


def network(name: str) -> nn.Module:
    return build(ModelSpec(name, {"width": 8}, 10, 3, 16), torch.Generator().manual_seed(5))


def test_coefficients_are_the_mean_gradient_of_the_true_logit() -> None:
    model = network("convnet").eval()
    image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(3))
    found = channel_coefficients(model, image, 4)
    outputs: dict[str, Tensor] = {}
    handles = [
        layer.register_forward_hook(lambda m, i, o, n=name: outputs.__setitem__(n, o))
        for name, layer in convolutions(model).items()
    ]
    logit = model(image[None])[0, 4]
    gradients = torch.autograd.grad(logit, list(outputs.values()))
    for handle in handles:
        handle.remove()
    assert list(found) == list(outputs)
    for alpha, gradient in zip(found.values(), gradients, strict=True):
        torch.testing.assert_close(alpha, gradient.mean((0, 2, 3)), rtol=1e-4, atol=1e-9)


def test_ranking_leaves_the_model_alone() -> None:
    model = network("convnet").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    channel_coefficients(model, torch.rand(3, 16, 16), 0)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("train_mode", [False, True])
@pytest.mark.parametrize("name", ["convnet", "resnet18"])
def test_coefficients_are_those_of_the_library_to_the_last_bit(name: str, train_mode: bool) -> None:
    model, image = network(name), torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(3))
    found = channel_coefficients(model, image, 4, train_mode)
    layers = convolutions(model)
    with GradCAM(model=model, target_layers=list(layers.values())) as cam:
        model.train(train_mode)
        cam.activations_and_grads(image[None])[0, 4].backward()
        gradients = cam.activations_and_grads.gradients
        wanted = [cam.get_cam_weights(None, None, None, None, one.numpy())[0] for one in gradients]
    assert list(found) == list(layers)
    for alpha, value in zip(found.values(), wanted, strict=True):
        assert np.array_equal(alpha.numpy(), value)


class Reused(nn.Module):
    """Convolutions that are declared in another order than they run in, one used twice, one not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.unused, self.later = nn.Conv2d(3, 5, 1), nn.Conv2d(4, 4, 3, padding=1)
        self.first, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.later(self.later(self.first(x).relu()).relu()).relu()
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def test_coefficients_belong_to_their_layer_whatever_the_order_and_the_number_of_uses() -> None:
    torch.manual_seed(0)
    model, image = Reused().double(), torch.rand(3, 8, 8).double()
    found = channel_coefficients(model, image, 1)
    first = model.first(image[None])
    second = model.later(first.relu())
    third = model.later(second.relu())
    logit = model.head(third.relu().mean((2, 3)))[0, 1]
    alphas = [
        gradient.mean((0, 2, 3)) for gradient in torch.autograd.grad(logit, [first, second, third])
    ]
    assert not found["unused"].any()
    torch.testing.assert_close(found["first"], alphas[0])
    torch.testing.assert_close(found["later"], alphas[1] + alphas[2])
