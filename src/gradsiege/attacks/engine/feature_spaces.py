"""A generator's intermediate features as a search space, within an l1 ball around where a stage begins (GIFD, ICCV 2023)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.attacks.engine.generator_spaces import LATENT, GeneratorSpace
from gradsiege.attacks.engine.l1_ball import onto_l1_ball
from gradsiege.attacks.engine.variables import Variables
from gradsiege.priors.staged_generator import EMBEDDING, StagedGenerator

CHANGE = "change."


def feature_shapes(network: StagedGenerator) -> list[tuple[int, ...]]:
    """Return (channels, side, side) of the features h_1, ..., h_K that GIFD optimises: all but the image itself.

    h_1 is the generator's coarsest map, which the latent and the class enter by, as in the authors' numbering.

    >>> feature_shapes(StagedGenerator(latent=8, width=4, classes=3, channels=1, size=16))
    [(16, 4, 4), (8, 8, 8), (4, 16, 16)]
    """
    zeros = network.embedding.new_zeros
    with torch.no_grad():
        found = network.features(zeros(1, network.latent), zeros(1, EMBEDDING))
    return [tuple(feature.shape[1:]) for feature in found[:-1]]


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

    network: StagedGenerator
    depth: int
    radius: float | None

    def start(self, generator: torch.Generator) -> Variables:
        """Draw the latents of one element; no feature is changed yet."""
        z = torch.randn((self.count, self.network.latent), generator=generator)
        changes = {
            f"{CHANGE}{place}": z.new_zeros(self.count, *shape)
            for place, shape in enumerate(feature_shapes(self.network)[: self.depth], start=1)
        }
        return {LATENT: z, **changes}

    def follow(self, before: Variables) -> Variables:
        """Keep the earlier stages' latents and changes ``[n, images, ...]``; change nothing here yet."""
        z, shape = before[LATENT], feature_shapes(self.network)[self.depth - 1]
        names = [LATENT, *(f"{CHANGE}{place}" for place in range(1, self.depth))]
        kept = {name: before[name] for name in names}
        return {**kept, f"{CHANGE}{self.depth}": z.new_zeros(*z.shape[:2], *shape)}

    def decode(self, x: Variables, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the later stages make of h_depth + change."""
        embedding = self.network.embed(labels)
        h = self.network.start(x[LATENT].detach(), embedding)
        for place in range(1, self.depth):
            h = h + x[f"{CHANGE}{place}"].detach()
            h = self.network.stage(place - 1, h, embedding)
        h = h + x[f"{CHANGE}{self.depth}"]
        return self.both(self.network.finish(self.depth - 1, h, embedding))

    def project(self, x: Variables) -> Variables:
        """Bring each image's change ``[..., c, s, s]`` back to the ball, if there is one."""
        if self.radius is None:
            return x
        name = f"{CHANGE}{self.depth}"
        rows = onto_l1_ball(x[name].flatten(-3), self.radius)
        return {**x, name: rows.view_as(x[name])}
