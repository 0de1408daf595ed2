"""StyleGAN2's codes and noise maps as a search space together with a feature, each in l1 balls (GIFD, ICCV 2023)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from gradsiege.attacks.spaces.features import CHANGE, feature_shapes
from gradsiege.attacks.spaces.generator import LATENT, GeneratorSpace
from gradsiege.attacks.spaces.l1_ball import onto_l1_ball
from gradsiege.attacks.variables import Variables
from gradsiege.priors.stylegan2 import StyleGAN2Network

MOVE = "move."


@dataclass(frozen=True)
class StyledFeatures(GeneratorSpace):
    """Search space of a stage of GIFD in StyleGAN2: codes, the first 5 + 2k noise maps, and, but for stage 0, the feature h_k.

    So does the release. Codes and noise maps that lie before h_k have no influence any more: h_k stays what they made it.

    Variables: ``z [images, d]``, where the search began; for k = 0 ... depth ``move.k [images, d_k]``, what stage k added to codes
    and noise maps; for k = 1 ... depth ``change.k [images, c, s, s]``, what it added to h_k. Only the last ones move; they start at
    zero, so that a stage begins with the image that the stage before ended with, and that every l1 ball is around zero.

    Attributes:
        depth: k, from 0.
        radius: of the l1 balls of each image's codes, of each of its noise maps, and of its feature; None for no balls.
        drop: forget the image so far, which is carried past the optimised feature, as the released code does.
    """

    network: StyleGAN2Network
    depth: int
    radius: float | None
    drop: bool = field(default=False, kw_only=True)

    def start(self, generator: torch.Generator) -> Variables:
        """Draw the latents of one element; nothing is moved yet."""
        z = torch.randn((self.count, self.network.latent), generator=generator)
        x = {LATENT: self.network.prepared(z)}
        for stage in range(self.depth + 1):
            x |= self._unmoved(stage, x[LATENT])
        return x

    def follow(self, before: Variables) -> Variables:
        """Keep what earlier stages found ``[n, images, ...]``; move nothing here yet."""
        names = [
            LATENT,
            *(f"{MOVE}{stage}" for stage in range(self.depth)),
            *(f"{CHANGE}{stage}" for stage in range(1, self.depth)),
        ]
        return {name: before[name] for name in names} | self._unmoved(self.depth, before[LATENT])

    def _unmoved(self, stage: int, z: Tensor) -> Variables:
        """Return a stage's own variables, all zero, for latents ``[..., d]``."""
        leading = z.shape[:-1]
        unmoved = {f"{MOVE}{stage}": z.new_zeros(*leading, self.network.searched(stage))}
        if stage:
            shape = feature_shapes(self.network)[stage - 1]
            unmoved[f"{CHANGE}{stage}"] = z.new_zeros(*leading, *shape)
        return unmoved

    def decode(self, x: Variables, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the later layers make of h_depth + change, with the codes and noise maps as they are now.

        Both ``[images, c, h, w]``: as the network sees them, and in [0, 1].
        """
        network = self.network
        z = x[LATENT].detach() + self._moved(x, f"{MOVE}0", 0)
        h = network.start(z, z)
        for stage in range(1, self.depth + 1):
            if stage > 1:
                h = network.stage(stage - 2, h, z)
            z = network.extended(z, stage) + self._moved(x, f"{MOVE}{stage}", stage)
            if self.drop and stage == self.depth:
                h = network.dropped(h)
            h = network.moved(h, self._moved(x, f"{CHANGE}{stage}", stage))
        return self.both(network.finish(max(0, self.depth - 1), h, z))

    def _moved(self, x: Variables, name: str, stage: int) -> Tensor:
        return x[name] if stage == self.depth else x[name].detach()

    def project(self, x: Variables) -> Variables:
        """Bring each image's codes, noise maps and feature back to their balls, if there are any."""
        if self.radius is None:
            return x
        name = f"{MOVE}{self.depth}"
        parts = x[name].split(self.network.parts_of(self.depth), dim=-1)
        inside = {name: torch.cat([onto_l1_ball(part, self.radius) for part in parts], -1)}
        if self.depth:
            change = f"{CHANGE}{self.depth}"
            inside[change] = onto_l1_ball(x[change].flatten(-3), self.radius).view_as(x[change])
        return {**x, **inside}
