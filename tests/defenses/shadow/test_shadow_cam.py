"""Grad-CAM++ against the grad-cam library, per image and per class."""

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAMPlusPlus
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from gradsiege.defenses.shadow import cam as shadow_cam
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
    found = shadow_cam.class_activation(model, *split_state(model), images, classes)
    with GradCAMPlusPlus(model=model, target_layers=[target(model)]) as cam:
        wanted = cam(images, [ClassifierOutputTarget(int(label)) for label in classes])
        recorded = cam.activations_and_grads
        raw = cam.get_cam_image(
            images, None, None, recorded.activations[0].numpy(), recorded.gradients[0].numpy()
        )
        own = shadow_cam.grad_cam_plus_plus(recorded.activations[0], recorded.gradients[0])
    assert np.allclose(own.numpy(), np.maximum(raw, 0), rtol=1e-4, atol=1e-9)
    assert found.shape == (4, 32, 32)
    # The library adds 1e-7 to the maximum before it divides, which tells on the smallest maps.
    assert np.abs(found.numpy() - wanted).max() < 2e-3


def test_each_image_is_explained_by_its_own_class_alone() -> None:
    spec, _ = SPECS["resnet18"]
    model = build(spec, torch.Generator().manual_seed(0))
    state = split_state(model)
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    together = shadow_cam.class_activation(model, *state, images, torch.tensor([0, 1, 2]))
    for i in range(3):
        alone = shadow_cam.class_activation(model, *state, images[i : i + 1], torch.tensor([i]))
        assert torch.allclose(together[i], alone[0], atol=1e-4)
    others = shadow_cam.class_activation(model, *state, images, torch.tensor([1, 2, 3]))
    assert (together - others).abs().max() > 0.05


def test_the_model_keeps_its_mode_hooks_and_buffers() -> None:
    spec, _ = SPECS["convnet"]
    model = build(spec, torch.Generator().manual_seed(0)).train()
    parameters, buffers = split_state(model)
    images = torch.rand(2, 3, 32, 32)
    before = images.clone()
    shadow_cam.class_activation(model, parameters, buffers, images, torch.tensor([0, 1]))
    assert model.training
    assert not images.requires_grad
    assert torch.equal(images, before)
    assert not any(part._forward_hooks for part in model.modules())
    assert all(torch.equal(buffers[name], value) for name, value in model.named_buffers())


def test_a_model_without_feature_maps_is_refused() -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))
    with pytest.raises(ValueError, match="convolutional"):
        shadow_cam.class_activation(
            model, *split_state(model), torch.rand(1, 3, 2, 2), torch.tensor([0])
        )
