"""The denoiser's network: a U-Net of three levels, told of the noise level and the class, inside EDM's preconditioning."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradsiege.priors.denoiser.preconditioning import preconditioning
from gradsiege.priors.shadow_generator import double
from gradsiege.priors.staged_gan.generator import EMBEDDING, ConditionalNorm

# Pixels of a square of this side become channels, so that no convolution runs at the full side.
PATCH = 2
FREQUENCIES = 8


class Block(nn.Module):
    """Residual block: norm, SiLU, 3x3, norm, SiLU, 3x3; a 1x1 skip where the channels change. Norms carry the condition."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first_norm = ConditionalNorm(inputs)
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second_norm = ConditionalNorm(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Map ``[n, inputs, s, s]`` to ``[n, outputs, s, s]``."""
        x = self.first(F.silu(self.first_norm(h, condition)))
        x = self.second(F.silu(self.second_norm(x, condition)))
        summed: Tensor = self.skip(h) + x
        return summed


class UNet(nn.Module):
    """F(x; c_noise, y): blocks at a half, a quarter and an eighth of the side, with `width`, 2 and 2 times as many channels.

    The last convolution starts at zero, so that the untrained F is 0. The last of the class embeddings stands for an unknown class.
    """

    frequencies: Tensor

    def __init__(self, width: int, classes: int, channels: int) -> None:
        super().__init__()
        self.classes = classes
        self.embedding = nn.Parameter(torch.zeros(classes + 1, EMBEDDING))
        self.register_buffer("frequencies", math.pi * 2.0 ** torch.arange(-2, FREQUENCIES - 2))
        self.noise = nn.Linear(2 * FREQUENCIES, EMBEDDING)
        self.mixed = nn.Linear(EMBEDDING, EMBEDDING)
        self.entry = nn.Conv2d(channels * PATCH**2, width, 3, padding=1)
        self.fine = Block(width, width)
        self.middle = Block(width, 2 * width)
        self.coarse = nn.ModuleList([Block(2 * width, 2 * width), Block(2 * width, 2 * width)])
        self.middle_up = Block(4 * width, 2 * width)
        self.fine_up = Block(3 * width, width)
        self.exit_norm = ConditionalNorm(width)
        self.exit = nn.Conv2d(width, channels * PATCH**2, 3, padding=1)

    def initialize_(self, generator: torch.Generator) -> None:
        """Draw the class embeddings from N(0, 1); F starts at 0."""
        self.embedding.normal_(generator=generator)
        self.exit.weight.zero_()
        assert self.exit.bias is not None
        self.exit.bias.zero_()

    def condition(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Return ``[n, e]`` of noise levels ``[n]`` and labels ``[n]``; a label never taught means "class unknown"."""
        angles = noise[:, None] * self.frequencies
        waves = torch.cat([angles.sin(), angles.cos()], 1)
        known = labels.clamp(max=self.classes)
        chosen = known[:, None] == torch.arange(self.classes + 1, device=labels.device)
        told = self.noise(waves) + chosen.to(waves.dtype) @ self.embedding
        mixed: Tensor = self.mixed(F.silu(told))
        return mixed

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor) -> Tensor:
        """Map ``[n, c, s, s]`` to its like; s is a multiple of 8."""
        condition = self.condition(noise, labels)
        fine = self.fine(self.entry(F.pixel_unshuffle(x, PATCH)), condition)
        middle = self.middle(F.avg_pool2d(fine, 2), condition)
        h = F.avg_pool2d(middle, 2)
        for block in self.coarse:
            h = block(h, condition)
        h = self.middle_up(torch.cat([double(h), middle], 1), condition)
        h = self.fine_up(torch.cat([double(h), fine], 1), condition)
        return F.pixel_shuffle(self.exit(F.silu(self.exit_norm(h, condition))), PATCH)


class Preconditioned(nn.Module):
    """D(x; sigma, y), an estimate of E[image | x, class] (EDM, equation 7). Twice differentiable, nothing random or in place.

    Attributes:
        spread: deviation of the training images about 0, in [-1, 1]; 0.5 in the paper.

    >>> network = Preconditioned(UNet(8, 3, 1), torch.tensor(0.5), 16)
    >>> x = torch.ones(2, 1, 16, 16)
    >>> network(x, torch.tensor([0.0, 0.5]), torch.tensor([0, 9]))[:, 0, 0, 0].tolist()[0]
    1.0
    """

    spread: Tensor
    side: Tensor

    def __init__(self, network: UNet, spread: Tensor, side: int) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("spread", spread)
        self.register_buffer("side", torch.tensor(side))

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return self.network.entry.in_channels // PATCH**2

    @property
    def size(self) -> int:
        """Side of the training images."""
        return int(self.side)

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        """Denoise ``x [n, c, s, s]``, each with noise of deviation ``sigma [n]`` and a label ``[n]``, in [-1, 1]."""
        numbers = preconditioning(sigma, self.spread)
        inner = self.network(_wide(numbers.inner) * x, numbers.noise, labels)
        denoised: Tensor = _wide(numbers.skip) * x + _wide(numbers.out) * inner
        return denoised


def _wide(numbers: Tensor) -> Tensor:
    return numbers[:, None, None, None]


def from_weights(weights: dict[str, Tensor]) -> Preconditioned:
    """Return the denoiser that `weights` belong to; its shape is read from theirs."""
    entry = weights["network.entry.weight"]
    network = UNet(len(entry), len(weights["network.embedding"]) - 1, entry.shape[1] // PATCH**2)
    denoiser = Preconditioned(network, weights["spread"].clone(), int(weights["side"]))
    denoiser.load_state_dict(weights)
    return denoiser
