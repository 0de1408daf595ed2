"""A variational bottleneck in front of a classifier's head (PRECODE, Scheliga et al., WACV 2022)."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradsiege.errors import StudyError
from gradsiege.models.layers import allocate, initialize

Code = tuple[Tensor, Tensor]


class Mean(nn.Module):
    """The layer that draws a code from its distribution; by default it returns the mean."""

    def forward(self, mean: Tensor, deviation: Tensor) -> Tensor:
        """Return the mean ``[n, units]``."""
        return mean


class VariationalBottleneck(nn.Module):
    """Features -> mean and deviation of a code -> code -> features of the old size.

    The heads for mean and deviation are one linear layer, its rows in this order; the deviation is the softplus of the
    second half, as in the release. The parameters need no random numbers: by default the code is the mean, and
    `sampled` draws it during a call.
    """

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.encoder = nn.Linear(features, 2 * units)
        self.code = Mean()
        self.decoder = nn.Linear(units, features)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[n, features]`` to ``[n, features]``."""
        mean, spread = self.encoder(x).chunk(2, dim=-1)
        decoded: Tensor = self.decoder(self.code(mean, F.softplus(spread)))
        return decoded


def insert_bottleneck(model: nn.Module, layer: str, units: int, generator: torch.Generator) -> None:
    """Put a bottleneck before the head and draw its weights; all other weights stay unchanged.

    The module called `layer`, the head, becomes ``<layer>.head`` beside ``<layer>.bottleneck``, on its device and in its type.

    >>> model = nn.Sequential(OrderedDict(fc=nn.Linear(8, 3)))
    >>> insert_bottleneck(model, "fc", 4, torch.Generator().manual_seed(0))
    >>> model.fc.bottleneck.decoder.weight.shape
    torch.Size([8, 4])
    """
    head = model.get_submodule(layer)
    if not isinstance(head, nn.Linear):
        raise StudyError(
            f"a bottleneck goes before a torch.nn.Linear, and the last layer {layer!r} is a {type(head).__name__}; "
            "choose another model"
        )
    with torch.device("meta"):  # no weight is drawn from the global generator
        bottleneck = VariationalBottleneck(head.in_features, units)
    allocate(bottleneck)
    initialize(bottleneck, generator)
    bottleneck.to(head.weight)
    model.set_submodule(layer, nn.Sequential(OrderedDict(bottleneck=bottleneck, head=head)))


@contextmanager
def sampled(model: nn.Module, noise: Tensor) -> Iterator[list[Code]]:
    """Draw codes as mean + deviation * noise inside this block; the list collects (mean, deviation) of every call.

    Args:
        model: a network with one bottleneck.
        noise: ``[n, units]``, standard normal.
    """
    seen: list[Code] = []

    def draw(module: nn.Module, code: Code, mean: Tensor) -> Tensor:
        seen.append(code)
        return code[0] + code[1] * noise

    places = [part for part in model.modules() if isinstance(part, Mean)]
    if len(places) != 1:
        raise ValueError(
            f"sampling needs a model with one bottleneck, not {len(places)}: build it from a spec with `bottleneck` set"
        )
    handle = places[0].register_forward_hook(draw)
    try:
        yield seen
    finally:
        handle.remove()


def divergence(mean: Tensor, deviation: Tensor) -> Tensor:
    """Return KL(N(mean, deviation^2) | N(0, 1)) in bits: summed over units, mean over images, as in the release.

    >>> divergence(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]]))
    tensor(0.7213)
    """
    nats = 0.5 * (mean.square() + deviation.square() - 2 * deviation.log() - 1)
    return nats.sum(-1).mean() / math.log(2)
