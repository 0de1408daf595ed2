"""TIP's ranking of convolution channels: Grad-CAM coefficients, and which channels they single out."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn


def convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    """Return every convolution of the model by name, in order."""
    return {name: part for name, part in model.named_modules() if isinstance(part, nn.Conv2d)}


def channel_coefficients(model: nn.Module, image: Tensor, label: int) -> dict[str, Tensor]:
    """Return Grad-CAM's alpha_c = mean over positions of d s_y / d A_c for every convolution.

    s_y is the logit of the true label and A the output of the convolution (Selvaraju et al., ICCV 2017, equation 1).
    The coefficients are those of `pytorch_grad_cam`: its hooks record A's gradient and ``get_cam_weights``
    averages it. The library's own call goes on to scale every map to 0..1 and to upsample it, which
    loses the magnitudes and costs twenty resizes, so only its first half is used. The ranking runs in eval
    mode on a copy: the library overwrites gradients and mode.

    Args:
        model: network with the client's weights.
        image: ``[c, h, w]`` in [0, 1].
        label: index of the true class.
    """
    from pytorch_grad_cam import GradCAM

    network = copy.deepcopy(model)
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    layers = convolutions(network)
    with GradCAM(model=network, target_layers=list(layers.values())) as cam:
        logits = cam.activations_and_grads(image[None])
        logits[0, label].backward()
        recorded = cam.activations_and_grads
        return {
            name: torch.from_numpy(cam.get_cam_weights(None, None, None, None, found.numpy()))[0]
            for name, found in zip(layers, recorded.gradients, strict=True)
        }


def top_channels(alpha: Tensor, ratio: float) -> Tensor:
    """Return the indices of the k = max(1, floor(p C)) largest signed coefficients.

    >>> top_channels(torch.tensor([0.1, -0.9, 0.5, 0.3]), 0.5).tolist()
    [2, 3]
    """
    count = max(1, math.floor(ratio * len(alpha) + 1e-9))
    return alpha.topk(count).indices


def one_image_per_class(labels: Tensor) -> list[int]:
    """Return the index of the first image of every class present, in class order."""
    return [int((labels == value).nonzero()[0]) for value in sorted(set(labels.tolist()))]
