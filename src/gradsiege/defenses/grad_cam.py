"""Grad-CAM and Grad-CAM++: what a logit owes to the channels and places of a feature map, in plain tensor operations."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from gradsiege.errors import ModelError
from gradsiege.models.names import given_name
from gradsiege.protocol.local_update import Tensors

EPSILON = 1e-6


def convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    """Return every convolution of the model by name, in order."""
    return {name: part for name, part in model.named_modules() if isinstance(part, nn.Conv2d)}


def trained_convolutions(
    model: nn.Module, update: Mapping[str, Tensor], defense: str
) -> dict[str, nn.Conv2d]:
    """Return the convolutions whose weight a client trains, by name, in order: those that have an update.

    A weight that several convolutions share belongs to the first of them.

    >>> layer = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1))
    >>> list(trained_convolutions(layer, {"1.weight": torch.zeros(4, 4, 1, 1)}, "agp"))
    ['1']

    Raises:
        ModelError: there is none, so that `defense` would leave the update as it is.
    """
    layers = convolutions(model)
    trained = {name: layer for name, layer in layers.items() if f"{name}.weight" in update}
    if trained:
        return trained
    if not layers:
        raise ModelError(
            f"{defense} noises the weights of torch.nn.Conv2d layers, and {getattr(model, 'kind', type(model).__name__)} has none; choose a network with "
            "convolutions, or a defense that noises every weight, such as gaussian"
        )
    frozen = next(f"{name}.weight" for name in layers)
    raise ModelError(
        f"{defense} noises the weights of torch.nn.Conv2d layers, and clients train none of them (the first is {given_name(frozen)!r}); set "
        "requires_grad of one, or choose a defense that noises every weight, such as gaussian"
    )


def channel_coefficients(
    model: nn.Module, image: Tensor, label: int, train_mode: bool = False
) -> dict[str, Tensor]:
    """Return Grad-CAM's alpha_c = mean over positions of d s_y / d A_c for every convolution.

    s_y is the logit of the true label and A the output of the convolution (Selvaraju et al., ICCV 2017, equation 1).
    A convolution that the network uses several times has the sum over its uses, one that it does not use has zeros.

    In train mode a batch norm behind the convolution subtracts the mean of a batch, which is here a single image.
    No shift of A then changes s_y, so every alpha_c is zero but for round-off, and the ranking is a matter of chance.

    Args:
        model: network with the client's weights; it is copied.
        image: ``[c, h, w]`` in [0, 1].
        label: index of the true class.
        train_mode: batch norm by the statistics of this image instead of the running ones.

    Returns:
        By name of the convolution, ``[channels]``.
    """
    network = copy.deepcopy(model).train(train_mode)
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    coefficients: dict[str, Tensor] = {}

    def add(name: str, gradient: Tensor) -> None:
        # NumPy's mean, whose rounding decides between channels that are almost equal.
        mean = torch.from_numpy(gradient.numpy().mean((2, 3)))[0]
        coefficients[name] = coefficients[name] + mean if name in coefficients else mean

    def record(name: str, layer: nn.Module, inputs: object, output: Tensor) -> None:
        # A hook of the output meets its gradient even where the next layer works in place.
        output.register_hook(partial(add, name))

    layers = convolutions(network)
    for name, layer in layers.items():
        layer.register_forward_hook(partial(record, name))
    network(image[None])[0, label].backward()
    return {
        name: coefficients.get(name, torch.zeros_like(layer.weight[:, 0, 0, 0]))
        for name, layer in layers.items()
    }


def class_activation_map(model: nn.Module, image: Tensor, label: int) -> Tensor:
    """Return Grad-CAM of the last convolution at the size of the image, ``[h, w]`` in 0..1.

    ReLU(sum_c alpha_c A_c) with alpha_c the mean gradient of the true label's logit (Selvaraju et al., ICCV 2017,
    equations 1 and 2), enlarged bilinearly. The model is in eval mode.
    """
    activations: list[Tensor] = []
    last = list(convolutions(model).values())[-1]
    handle = last.register_forward_hook(lambda module, inputs, output: activations.append(output))
    try:
        logits = model(image[None].clone().requires_grad_(True))
    finally:
        handle.remove()
    (gradient,) = torch.autograd.grad(logits[0, label], activations)
    weights = gradient.mean((2, 3), keepdim=True)
    cam = (weights * activations[0].detach()).sum(1, keepdim=True).relu()
    cam = F.interpolate(cam, image.shape[1:], mode="bilinear", align_corners=False)
    return to_unit(cam[:, 0])[0]


def grad_cam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return the class activation map ``[n, h, w]`` (Chattopadhyay et al., WACV 2018, equations 7, 16 and 19).

    L_ij = ReLU(sum_k w_k A_ij^k) with w_k = sum_ij alpha_ij^k ReLU(g_ij^k) and
    alpha_ij^k = g^2 / (2 g^2 + (sum_ab A_ab^k) g^3), zero where g is zero. The positive factor exp(score)
    that all w_k of an image share is left out, as in `pytorch_grad_cam`: it only scales the map.

    Args:
        activations: A, the last feature map ``[n, k, h, w]``.
        gradients: g = d score / d A, same shape.

    >>> grad_cam_plus_plus(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[1.0, 0.0]]]]))
    tensor([[[0.1667, 0.5000]]])
    """
    squared = gradients.square()
    total = activations.sum((2, 3), keepdim=True)
    alpha = squared / (2 * squared + total * squared * gradients + EPSILON)
    alpha = torch.where(gradients != 0, alpha, 0)
    weights = (alpha * gradients.relu()).sum((2, 3), keepdim=True)
    return (weights * activations).sum(1).relu()


def to_unit(values: Tensor) -> Tensor:
    """Return every map of ``[n, h, w]`` shifted and scaled to 0..1; a constant one becomes zero."""
    low, high = values.amin((1, 2), keepdim=True), values.amax((1, 2), keepdim=True)
    return (values - low) / (high - low).clamp(min=1e-30)


def last_feature_map(model: nn.Module, state: Tensors, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return (the last feature map ``[n, k, h, w]`` with h * w > 1, logits) of the network in its present mode.

    "Last" is in the order of execution: the output of the last stage of a residual network, the pooled
    features in front of a fully connected head.
    """
    feature_maps: list[Tensor] = []

    def keep(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() == 4 and output[0, 0].numel() > 1:
            feature_maps[:] = [output]

    handles = [part.register_forward_hook(keep) for part in model.modules()]
    try:
        logits: Tensor = functional_call(model, state, (images,))
    finally:
        for handle in handles:
            handle.remove()
    if not feature_maps:
        raise ValueError(
            "Grad-CAM++ needs a convolutional model: no feature map [n, k, h, w] found"
        )
    return feature_maps[0], logits


def class_activation_plus_plus(
    model: nn.Module, parameters: Tensors, buffers: Tensors, images: Tensor, classes: Tensor
) -> Tensor:
    """Return Grad-CAM++ of `classes` ``[n]`` at the size of the images, each map in 0..1, ``[n, h, w]``.

    The network is evaluated in eval mode, so that images do not influence each other; the client's model stays unchanged.
    """
    network = copy.deepcopy(model).eval()
    state = {**parameters, **buffers}
    inputs = images.detach().clone().requires_grad_(True)
    features, logits = last_feature_map(network, state, inputs)
    score = logits.gather(1, classes[:, None]).sum()
    (gradients,) = torch.autograd.grad(score, [features])
    cam = grad_cam_plus_plus(features.detach(), gradients)
    shape = images.shape[2:]
    cam = F.interpolate(cam[:, None], shape, mode="bilinear", align_corners=False)[:, 0]
    return to_unit(cam)
