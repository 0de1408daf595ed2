"""ATS: train on augmented images that say little about the raw ones (Gao et al., CVPR 2021, arXiv 2011.12505)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gradsiege.defenses.base import Client, Defense
from gradsiege.protocol.ats_operations import apply
from gradsiege.protocol.ats_policies import LONGEST, POOL, parse_policy
from gradsiege.protocol.local_update import Step

VERSION = 1


@dataclass(frozen=True)
class Ats(Defense):
    """Augment every image anew in every local step; the update is that of the augmented batch.

    The policies come from the authors' search over the pool, by a privacy score and an accuracy score; the search is
    not repeated here. Left out is what the release does before a policy to CIFAR images in training (random crop and
    flip), which belongs to training and not to the defense. A reconstruction is scored against the raw image: that
    is the secret.

    `policies`, each up to three entries of the pool; an image gets one of them at random.

    The default is the released pair for ResNet-20 on CIFAR-100. Without any policy an image gets three
    random entries of the pool, the form in which the code of GIFD (2026) tests the defense.
    """

    name = "ats"

    policies: tuple[str, ...] = ("3-1-7", "43-18-18")

    def __post_init__(self) -> None:
        """Refuse a policy that cannot be read."""
        super().__post_init__()
        _ = self.parsed

    @cached_property
    def parsed(self) -> list[tuple[int, ...]]:
        """The policies as numbers of the pool's entries."""
        return [parse_policy(text) for text in self.policies]

    def transform_batch(
        self, images: Tensor, labels: Tensor, step: Step, client: Client
    ) -> tuple[Tensor, Tensor]:
        """Return (augmented images, labels).

        images: ``[b, c, h, w]`` in [0, 1]; labels: ``[b]``; both come back in their shapes.
        """
        return torch.stack([self._augment(image, client.generator) for image in images]), labels

    def _augment(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """Apply one policy to an image, each entry with a random sign."""
        if self.parsed:
            policy = self.parsed[_draw(len(self.parsed), generator)]
        else:
            policy = tuple(_draw(len(POOL), generator) for _ in range(LONGEST))
        for number in policy:
            image = apply(*POOL[number], image, 1 - 2 * _draw(2, generator))
        return image


def _draw(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))
