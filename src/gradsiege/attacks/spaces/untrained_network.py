"""An over-parameterised convolutional network, whose random weights are all that an attack optimises."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradsiege.priors.shadow_generator import double, pyramid

SLOPE = 0.1


class Norm(nn.Module):
    """The batch norm of a single image, with a gain and a bias of every channel, then leaky ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def initialize_(self, generator: torch.Generator) -> None:
        """Begin as the norm alone."""
        self.gain.fill_(1)
        self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape of ``[n, width, s, s]``."""
        normed: Tensor = F.instance_norm(x)
        return F.leaky_relu(normed * self.gain[:, None, None] + self.bias[:, None, None], SLOPE)


class Block(nn.Module):
    """Two 3x3 convolutions, each followed by a norm and leaky ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.first_norm = Norm(width)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.second_norm = Norm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape of ``[n, width, s, s]``."""
        after: Tensor = self.second_norm(self.second(self.first_norm(self.first(x))))
        return after


class OverParameterisedNetwork(nn.Module):
    """CI-Net's generator: a dense entry to 4x4, a block per side, nearest doublings, a 1x1 convolution, tanh.

    Two changes, neither of which adds knowledge. The norm is that of one image (for one image it equals the published
    batch norm in train mode), so that images of a batch do not mix. The published spectral norm is left out: it divides a
    convolution by a number, and the norm behind that convolution divides the number out again, in values and in derivatives.

    >>> sum(value.numel() for value in OverParameterisedNetwork(128, 32, 3, 32).parameters())
    140707
    """

    def __init__(self, latent: int, width: int, channels: int, size: int) -> None:
        super().__init__()
        self.side, doublings = pyramid(size)
        self.entry = nn.Linear(latent, width * self.side**2)
        self.norm = Norm(width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(doublings + 1))
        self.image = nn.Conv2d(width, channels, 1)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents ``[n, latent]`` to images ``[n, channels, size, size]`` in [0, 1]."""
        x = self.norm(self.entry(z).reshape(len(z), -1, self.side, self.side))
        for number, block in enumerate(self.blocks):
            x = block(x if number == 0 else double(x))
        return (1 + torch.tanh(self.image(x))) / 2


def published_width(latent: int, images: int, channels: int, size: int) -> int:
    """Return 32, doubled until the parameters outnumber 4 * images * size^2, CI-Net's over-parameterisation.

    >>> published_width(128, 1, 3, 32), published_width(128, 16, 3, 64)
    (32, 64)
    """
    width = 32
    while _parameters(latent, width, channels, size) <= 4 * images * size**2:
        width *= 2
    return width


def _parameters(latent: int, width: int, channels: int, size: int) -> int:
    with torch.device("meta"):
        network = OverParameterisedNetwork(latent, width, channels, size)
    return sum(value.numel() for value in network.parameters())
