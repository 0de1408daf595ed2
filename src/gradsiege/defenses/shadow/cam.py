"""Grad-CAM++ of the last feature map, in plain tensor operations, for every image of a batch at once."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from gradsiege.protocol.local_update import Tensors

EPSILON = 1e-6


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


def class_activation(
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
