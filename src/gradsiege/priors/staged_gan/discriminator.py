"""The discriminator of the staged generator: spectral norm, projection of the class, hinge loss."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradsiege.priors.shadow_generator import pyramid


class SpectralConv2d(nn.Conv2d):
    """Convolution divided by the largest singular value of its weight matrix (Miyato et al., ICLR 2018).

    One power iteration a forward pass, from a vector that is drawn with the weights: PyTorch's own version
    draws it from the global random state.
    """

    u: Tensor

    def __init__(self, inputs: int, outputs: int, side: int, stride: int, padding: int) -> None:
        super().__init__(inputs, outputs, side, stride, padding)
        self.register_buffer("u", torch.zeros(outputs))

    def initialize_(self, generator: torch.Generator) -> None:
        """Draw the start of the power iteration."""
        self.u.normal_(generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve with W / sigma(W).

        Takes ``[n, inputs, h, w]``, returns ``[n, outputs, h', w']``.
        """
        matrix = self.weight.flatten(1)
        with torch.no_grad():
            v = F.normalize(matrix.T @ self.u, dim=0)
            u = F.normalize(matrix @ v, dim=0)
            self.u = u
        sigma = u @ matrix @ v
        return F.conv2d(x, self.weight / sigma, self.bias, self.stride, self.padding)


class Discriminator(nn.Module):
    """D(x, y) = a(f(x)) + <e_y, f(x)> (Miyato and Koyama, ICLR 2018).

    f halves the side down to the coarsest map and reads that map whole, so that D sees where things are.
    """

    def __init__(self, width: int, classes: int, channels: int, size: int) -> None:
        super().__init__()
        side, halvings = pyramid(size)
        widths = [width * min(4, 2**level) for level in range(halvings + 1)]
        layers: list[nn.Module] = [SpectralConv2d(channels, width, 3, 1, 1), nn.LeakyReLU(0.2)]
        for inputs, outputs in itertools.pairwise(widths):
            layers += [SpectralConv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(0.2)]
        layers += [SpectralConv2d(widths[-1], widths[-1], side, 1, 0), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers)
        self.score = nn.Linear(widths[-1], 1)
        self.classes = nn.Linear(classes, widths[-1], bias=False)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Score images ``[n, c, h, w]`` in [-1, 1] of classes ``[n]``; high means real."""
        features = self.body(images).flatten(1)
        label_weights = self.classes.weight.T[labels]
        score: Tensor = self.score(features)[:, 0] + (label_weights * features).sum(1)
        return score


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return the hinge loss mean max(0, 1 - D(x)) + mean max(0, 1 + D(G(z))) (Lim and Ye, 2017).

    >>> discriminator_loss(torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 0.5])).item()
    1.25
    """
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """Return -mean D(G(z)).

    fake: ``[n]``, the scores D(G(z)); the result is a scalar.

    >>> generator_loss(torch.tensor([1.0, 3.0])).item()
    -2.0
    """
    return -fake.mean()


def class_spread(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the mean absolute difference of two images of one class, for every class ``[classes]``.

    Each image is paired with the next of its class; a class of fewer than two images has spread 0.

    >>> class_spread(torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([0, 0, 1]), 2)
    tensor([1., 0.])
    """
    by_class = [images[labels == label] for label in range(classes)]
    spreads = [
        (of_class - of_class.roll(1, 0)).abs().mean() if len(of_class) > 1 else torch.zeros(())
        for of_class in by_class
    ]
    return torch.stack(spreads)


def diversity_loss(first: Tensor, second: Tensor, spread: Tensor) -> Tensor:
    """Return mean max(0, 1 - |a - b| / spread) over pairs of generated images of one class ``[n, c, h, w]``.

    Without it a conditional generator learns to ignore z. The reward of Yang et al. (ICLR 2019), for latents that differ,
    bounded where the pair differs as much as two real images of its class do, ``spread [n]``.

    >>> one, spread = torch.zeros(2, 1, 1, 1), torch.tensor([0.5, 0.5])
    >>> diversity_loss(one, one, spread).item(), diversity_loss(one, one + 1, spread).item()
    (1.0, 0.0)
    """
    apart = (first - second).abs().mean((1, 2, 3))
    return F.relu(1 - apart / spread.clamp_min(1e-6)).mean()
