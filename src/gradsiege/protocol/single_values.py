"""Batch norms that a local step leaves a single value per channel, from which nothing can be learned and which PyTorch refuses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gradsiege.errors import ModelError
from gradsiege.protocol.layer_inputs import layer_inputs
from gradsiege.protocol.local_update import Tensors


def refuse_single_values(
    network: nn.Module, state: Tensors, batches: Sequence[Tensor], training: bool
) -> None:
    """Refuse local steps in which a batch norm normalises one value per channel by its own mean.

    Such a layer returns its bias whatever the image is: all layers before it get the update 0, which would look like a perfect
    defense. `torch.nn.BatchNorm2d` raises an error there, so no such client exists.

    Args:
        network: the global network, in evaluation mode.
        state: its parameters and buffers.
        batches: the images of every local step, ``[n, c, h, w]`` each.
        training: whether batch norms normalise by the batch; those without running statistics always do.

    Raises:
        ModelError: names the layer, the number of images, and what to change.
    """
    alone = [batch for batch in batches if len(batch) == 1]
    layers = [
        name
        for name, part in network.named_modules()
        if isinstance(part, _BatchNorm) and (training or part.running_mean is None)
    ]
    if not alone or not layers:
        return
    with torch.no_grad():
        inputs = layer_inputs(network, state, alone[0], layers)
    for name, value in inputs.items():
        if value.numel() == value.shape[1]:
            raise ModelError(
                f"a local step holds one image, of which the batch norm {name.removeprefix('body.')} gets {list(value.shape)}: one "
                "value per channel, which PyTorch does not train on; give clients larger images, more images per local step "
                "(images_per_client, batch_size), or training with mode='eval'"
            )
