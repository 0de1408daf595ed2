"""Spaces behind a generator: its latent codes, a copy of its weights for every image, a network that was never trained.

Labels given to `decode` condition the generator, so that an image is always drawn for the class it is matched with.
Images come out of a sigmoid or tanh: no projection is needed to keep them valid.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gradsiege.attacks.variables import Variables
from gradsiege.models.layers import initialize
from gradsiege.priors.staged_gan.generator import Staged

LATENT, WEIGHTS = "z", "weights."
Bound = Literal["none", "tanh", "sphere"]
Begin = Literal["normal", "uniform"]


@dataclass(frozen=True)
class GeneratorSpace:
    """Base of search spaces behind a network.

    Attributes:
        network: the generator, frozen; its own weights are where every element begins.
        count: images of one element.
        mean, deviation: ``[channels]``, the global model's own normalisation.
    """

    network: nn.Module
    count: int
    mean: Tensor
    deviation: Tensor

    def both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return (normalised images, images) of images in [0, 1].

        All ``[images, c, h, w]``.
        """
        return (images - self.mean[:, None, None]) / self.deviation[:, None, None], images

    def labels(self, x: Variables, labels: Tensor) -> Tensor:
        """Labels are not optimised.

        The given ones, ``[images]``.
        """
        return labels

    def project(self, x: Variables) -> Variables:
        """Every point is admissible."""
        return x


@dataclass(frozen=True)
class LatentCodes(GeneratorSpace):
    """Latents ``z [images, d]``.

    Attributes:
        bound: ``tanh`` decodes tanh(z) (GGL); ``sphere`` projects every latent to the length sqrt(d) that
            N(0, I) has, as ILO can; ``none`` is GIAS.
        begin: ``normal`` draws from the generator's own prior N(0, I), ``uniform`` from U(0, 1).
    """

    network: Staged
    bound: Bound = "none"
    begin: Begin = "normal"

    def start(self, generator: torch.Generator) -> Variables:
        """Draw the latents of one element."""
        draw = torch.randn if self.begin == "normal" else torch.rand
        z = draw((self.count, self.network.latent), generator=generator)
        return {LATENT: self.network.prepared(z)}

    def follow(self, before: Variables) -> Variables:
        """Go on from the earlier stage's latents."""
        return {LATENT: before[LATENT]}

    def decode(self, x: Variables, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return G(z, y).

        Both ``[images, c, h, w]``: as the network sees them, and in [0, 1]; z is ``[images, latent]``.
        """
        z = x[LATENT].tanh() if self.bound == "tanh" else x[LATENT]
        return self.both(self.network(z, labels))

    def project(self, x: Variables) -> Variables:
        """Bring latents ``[..., d]`` back to the sphere, if there is one."""
        if self.bound != "sphere":
            return x
        z = x[LATENT]
        return {**x, LATENT: z * (z.shape[-1] ** 0.5 / z.norm(dim=-1, keepdim=True))}


@dataclass(frozen=True)
class GeneratorWeights(GeneratorSpace):
    """A copy of all generator weights for every single image, around latents that stay as they are.

    Variables: ``z [images, d]``, fixed, and ``weights.<name> [images, *shape]`` for each parameter.
    """

    network: Staged

    def start(self, generator: torch.Generator) -> Variables:
        """Draw the latents of one element; the weights begin at the trained ones."""
        z = torch.randn((self.count, self.network.latent), generator=generator)
        return {LATENT: self.network.prepared(z), **self._copies((self.count,))}

    def follow(self, before: Variables) -> Variables:
        """Fix the earlier stage's latents ``[n, images, d]``."""
        z = before[LATENT]
        return {LATENT: z, **self._copies(z.shape[:2])}

    def _copies(self, leading: tuple[int, ...]) -> Variables:
        return {
            WEIGHTS + name: value.detach().expand(*leading, *value.shape).clone()
            for name, value in self.network.named_parameters()
        }

    def decode(self, x: Variables, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return G_{theta_i}(z_i, y_i) for each image i.

        Both ``[images, c, h, w]``: as the network sees them, and in [0, 1].
        """

        def generate(weights: Variables, z: Tensor, label: Tensor) -> Tensor:
            image: Tensor = functional_call(self.network, weights, (z[None], label[None]))
            return image[0]

        images = torch.vmap(generate)(_weights(x), x[LATENT].detach(), labels)
        return self.both(images)


@dataclass(frozen=True)
class UntrainedNetwork(GeneratorSpace):
    """Random weights of one network per element, around fixed random latents (Ulyanov et al., CVPR 2018).

    Variables: ``z [images, d]``, fixed, and ``weights.<name>``. The architecture alone is the
    prior on images; decoding ignores labels.
    """

    latent: int = field(kw_only=True)

    def start(self, generator: torch.Generator) -> Variables:
        """Draw weights and latents of one element."""
        initialize(self.network, generator)
        weights = {
            WEIGHTS + name: value.detach().clone()
            for name, value in self.network.named_parameters()
        }
        return {LATENT: torch.randn((self.count, self.latent), generator=generator), **weights}

    def follow(self, before: Variables) -> Variables:
        """Go on from the earlier stage's network."""
        return before

    def decode(self, x: Variables, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return G_theta(z), all images from the element's one network.

        Both ``[images, c, h, w]``: as the network sees them, and in [0, 1].
        """
        images: Tensor = functional_call(self.network, _weights(x), (x[LATENT].detach(),))
        return self.both(images)


def _weights(x: Variables) -> Variables:
    return {
        name.removeprefix(WEIGHTS): value for name, value in x.items() if name.startswith(WEIGHTS)
    }
