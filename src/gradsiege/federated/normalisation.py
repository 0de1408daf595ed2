"""The normalisation that all clients of a federation share."""

from __future__ import annotations

import sys

from torch import nn

from gradsiege.errors import ArtifactError
from gradsiege.images import CHANNELS, StoredImages


def set_normalisation(model: nn.Module, images: StoredImages, place: str) -> None:
    """Give a model the channel statistics of the training images, as a federation would agree on them beforehand.

    A constant channel is divided by 1: it is zero everywhere, and the update says nothing about it.

    Args:
        model: with buffers ``normalisation.mean`` and ``normalisation.deviation``.
        images: of all clients.
        place: what messages begin with.

    Raises:
        ArtifactError: when every channel is constant.
    """
    buffers = dict(model.named_buffers())
    mean, deviation = images.channel_statistics()
    constant = deviation == 0
    if constant.all():
        raise ArtifactError(
            f"{place}: every colour channel of the images of `train` is constant, so there is nothing to learn; "
            "supply images that show something"
        )
    for channel in constant.nonzero().flatten().tolist():
        name = CHANNELS[channel] if len(constant) == len(CHANNELS) else f"number {channel}"
        print(
            f"{place}: warning: the channel {name} is constant over `train` and is not scaled",
            file=sys.stderr,
        )
    deviation[constant] = 1
    buffers["normalisation.mean"].copy_(mean)
    buffers["normalisation.deviation"].copy_(deviation)
