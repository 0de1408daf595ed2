"""A generator's intermediate features as a search space, within an l1 ball around where a stage begins (GIFD, ICCV 2023)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.attacks.spaces.generator import LATENT, GeneratorSpace
from gradsiege.attacks.spaces.l1_ball import onto_l1_ball
from gradsiege.attacks.variables import Variables
from gradsiege.priors.staged_gan.generator import Staged

CHANGE = "change."


def feature_shapes(network: Staged) -> list[tuple[int, ...]]:
    """Return (channels, side, side) of the features h_1, ..., h_K that GIFD optimises: all but the image itself.

    h_1 is the generator's coarsest map, which the latent and the class enter by, as in the authors' numbering.

    >>> from gradsiege.priors.staged_gan.generator import StagedGenerator
    >>> feature_shapes(StagedGenerator(latent=8, width=4, classes=3, channels=1, size=16))
    [(16, 4, 4), (8, 8, 8), (4, 16, 16)]
    """
    parameter = next(network.parameters())
    with torch.no_grad():
        z = parameter.new_zeros(1, network.latent)
        labels = torch.zeros(1, dtype=torch.long, device=parameter.device)
        features = network.features(z, network.condition(z, labels))[:-1]
    return [(feature.shape[1] - network.carried, *feature.shape[2:]) for feature in features]


@dataclass(frozen=True)
class Features(GeneratorSpace):
    """The feature h_depth of every image; its latent and its coarser features stay as earlier stages left them.

    Variables: ``z [images, d]`` and ``change.k [images, c, s, s]`` for k = 1 ... depth, what stage k added to h_k. Only the
    last one moves; it starts at zero, so that a stage begins with the very image that the stage before ended with, and
    the l1 ball around the starting feature is one around zero.

    Attributes:
        depth: k of the optimised feature, from 1.
        radius: of the l1 ball of each image's change, in the feature's units; None for no ball.
    """

    network: Staged
    depth: int
    radius: float | None

    def start(self, generator: torch.Generator) -> Variables:
        """Draw the latents of one element; no feature is changed yet."""
        z = self.network.prepared(
            torch.randn((self.count, self.network.latent), generator=generator)
        )
        changes = {
            f"{CHANGE}{place}": z.new_zeros(self.count, *shape)
            for place, shape in enumerate(feature_shapes(self.network)[: self.depth], start=1)
        }
        return {LATENT: z, **changes}

    def follow(self, before: Variables) -> Variables:
        """Keep the earlier stages' latents and changes ``[n, images, ...]``; change nothing here yet."""
        z, shape = before[LATENT], feature_shapes(self.network)[self.depth - 1]
        names = [LATENT, *(f"{CHANGE}{place}" for place in range(1, self.depth))]
        earlier = {name: before[name] for name in names}
        return {**earlier, f"{CHANGE}{self.depth}": z.new_zeros(*z.shape[:2], *shape)}

    def decode(self, x: Variables, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the later stages make of h_depth + change.

        Both ``[images, c, h, w]``: as the network sees them, and in [0, 1].
        """
        network, z = self.network, x[LATENT].detach()
        condition = network.condition(z, labels)
        h = network.start(z, condition)
        for place in range(1, self.depth):
            h = network.stage(place - 1, h + x[f"{CHANGE}{place}"].detach(), condition)
        h = h + x[f"{CHANGE}{self.depth}"]
        return self.both(network.finish(self.depth - 1, h, condition))

    def project(self, x: Variables) -> Variables:
        """Bring each image's change ``[..., c, s, s]`` back to the ball, if there is one."""
        if self.radius is None:
            return x
        name = f"{CHANGE}{self.depth}"
        rows = onto_l1_ball(x[name].flatten(-3), self.radius)
        return {**x, name: rows.view_as(x[name])}
