"""TIP's ranking of convolution channels by Grad-CAM coefficients, and the selection of the noised ones."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from gradsiege.defenses.base import Client
from gradsiege.protocol.local_update import Tensors


def trained_model(client: Client, update: Tensors) -> nn.Module:
    """Return a copy of the client's model that holds the weights and buffers after local training.

    update: tensors by name, each of the shape of its parameter.
    """
    model = copy.deepcopy(client.model)
    # By parameter instead of by `load_state_dict`, which asks for every name of a tied weight.
    places = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for name, value in {**client.local_parameters(update), **client.buffers}.items():
            places[name].copy_(value)
    return model


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
    """Return the index of the first image of every class present, in class order.

    labels: ``[b]``.
    """
    return [int((labels == value).nonzero()[0]) for value in sorted(set(labels.tolist()))]
