"""TIP's ranking of convolution channels by Grad-CAM coefficients, and the selection of the noised ones."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from gradsiege.defenses.base import Client
from gradsiege.protocol.local_update import Tensors


def trained_model(client: Client, update: Tensors) -> nn.Module:
    """Return a copy of the client's model that holds the weights and buffers after local training."""
    model = copy.deepcopy(client.model)
    model.load_state_dict({**client.local_parameters(update), **client.buffers})
    return model


def convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    """Return every convolution of the model by name, in order."""
    return {name: part for name, part in model.named_modules() if isinstance(part, nn.Conv2d)}


def channel_coefficients(
    model: nn.Module, image: Tensor, label: int, train_mode: bool = False
) -> dict[str, Tensor]:
    """Return Grad-CAM's alpha_c = mean over positions of d s_y / d A_c for every convolution.

    s_y is the logit of the true label and A the output of the convolution (Selvaraju et al., ICCV 2017, equation 1).
    The coefficients are those of `pytorch_grad_cam`: its hooks record A's gradient and ``get_cam_weights``
    averages it. The library's own call also scales every map to 0..1 and upsamples it, which
    loses the magnitudes and costs twenty resizes, so only its first half is used. The ranking runs on a
    copy, since the library overwrites gradients and mode.

    In train mode a batch norm behind the convolution subtracts the mean of a batch, which is here a single image.
    A shift of A then does not change s_y, so every alpha_c is zero except for round-off, and the ranking is random.

    Args:
        model: network with the client's weights.
        image: ``[c, h, w]`` in [0, 1].
        label: index of the true class.
        train_mode: batch norm by the statistics of this image instead of the running ones.
    """
    from pytorch_grad_cam import GradCAM

    network = copy.deepcopy(model)
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    layers = convolutions(network)
    with GradCAM(model=network, target_layers=list(layers.values())) as cam:
        network.train(train_mode)
        logits = cam.activations_and_grads(image[None])
        logits[0, label].backward()
        recorded = cam.activations_and_grads
        return {
            name: torch.from_numpy(cam.get_cam_weights(None, None, None, None, gradient.numpy()))[0]
            for name, gradient in zip(layers, recorded.gradients, strict=True)
        }


def buffers_after_passes(model: nn.Module, images: Tensor) -> Tensors:
    """Return the buffers after train-mode passes of the images ``[n, c, h, w]``, one image at a time.

    Each pass moves the running statistics to those of its image by batch norm's momentum of 0.1.
    """
    network = copy.deepcopy(model).train()
    with torch.no_grad():
        for image in images:
            network(image[None])
    return dict(network.named_buffers())


def selected_count(channels: int, ratio: float, selection: str = "top") -> int:
    """Return how many channels are noised: max(1, floor(p C)), or every one.

    >>> selected_count(64, 0.1), selected_count(4, 0.1), selected_count(64, 0.1, "all")
    (6, 1, 64)
    """
    return channels if selection == "all" else max(1, math.floor(ratio * channels + 1e-9))


def top_channels(alpha: Tensor, ratio: float) -> Tensor:
    """Return the indices of the k = max(1, floor(p C)) largest signed coefficients.

    >>> top_channels(torch.tensor([0.1, -0.9, 0.5, 0.3]), 0.5).tolist()
    [2, 3]
    """
    return alpha.topk(selected_count(len(alpha), ratio)).indices


def select_channels(
    alpha: Tensor, ratio: float, selection: str, generator: torch.Generator
) -> Tensor:
    """Return the indices of the noised channels: the paper's ``top``, or a control that ignores or inverts its ranking.

    ``lowest`` takes as many of the smallest coefficients, ``random`` as many drawn from the generator, ``all`` every
    channel.

    >>> alpha = torch.tensor([0.1, -0.9, 0.5, 0.3])
    >>> select_channels(alpha, 0.5, "lowest", torch.Generator()).tolist()
    [1, 0]
    """
    count = selected_count(len(alpha), ratio, selection)
    if selection == "random":
        return torch.randperm(len(alpha), generator=generator)[:count]
    if selection == "all":
        return torch.arange(count)
    return alpha.topk(count, largest=selection == "top").indices


def one_image_per_class(labels: Tensor) -> list[int]:
    """Return the index of the first image of every class present, in class order."""
    return [int((labels == value).nonzero()[0]) for value in sorted(set(labels.tolist()))]
