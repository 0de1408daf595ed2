"""Noisy images of a diffusion model, decoded to its estimate of the clean ones.

Variables: ``x [images, c, h, w]`` with noise, in [-1, 1] without it; ``sigma``, the deviation of that noise; and
``estimate``, which is always zero and brings the denoised images to the sampler (`objectives.carried`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradsiege.attacks.spaces.generator import GeneratorSpace
from gradsiege.attacks.variables import Variables
from gradsiege.priors.denoiser.preconditioning import to_unit

NOISY, SIGMA, ESTIMATE = "x", "sigma", "estimate"


@dataclass(frozen=True)
class Denoised(GeneratorSpace):
    """Noisy images, each element's at its own level of noise, which the sampler sets and no gradient moves.

    Attributes:
        network: ``D(x [n, c, h, w], sigma [n], labels [n])``, E[image | x, label] in [-1, 1].
        shape: ``(channels, height, width)`` of an image.
        largest: deviation of the noise that a search begins with.
    """

    network: nn.Module
    shape: tuple[int, int, int]
    largest: float

    def start(self, generator: torch.Generator) -> Variables:
        """Draw pure noise."""
        drawn = torch.randn((self.count, *self.shape), generator=generator)
        sigma = torch.tensor(self.largest)
        return {NOISY: self.largest * drawn, SIGMA: sigma, ESTIMATE: torch.zeros_like(drawn)}

    def follow(self, before: Variables) -> Variables:
        """Go on from the images of an earlier phase, at their level of noise."""
        return {name: before[name] for name in (NOISY, SIGMA, ESTIMATE)}

    def decode(self, x: Variables, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the estimates of the clean images, conditioned on the labels.

        Both ``[images, c, h, w]``: as the network sees them, and in [0, 1].
        """
        sigma = x[SIGMA].detach().expand(self.count)
        return self.both(to_unit(self.network(x[NOISY], sigma, labels)))
