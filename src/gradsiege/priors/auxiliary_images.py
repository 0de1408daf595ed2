"""The auxiliary images with their labels, for an attack that trains its own model on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.images import to_bytes
from gradsiege.priors.base import Prior, Trained
from gradsiege.priors.resumable import UNSAVED, Checkpointer
from gradsiege.ranges import PositiveShare

VERSION = 1
LEAST_IMAGES = 2


@dataclass(frozen=True)
class AuxiliaryImages(Prior):
    """`fraction` of `aux` that the attacker owns."""

    name = "auxiliary_images"

    fraction: PositiveShare = 1.0

    def train(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        checkpointer: Checkpointer = UNSAVED,
    ) -> Trained:
        """Return (images uint8 ``[n, c, h, w]`` in random order with labels ``[n]``, card); nothing is trained."""
        kept = max(2, round(self.fraction * len(images)))
        order = torch.randperm(len(images), generator=generator)[:kept]
        weights = {"images": to_bytes(images[order]), "labels": labels[order].clone()}
        classes = len(labels[order].unique())
        return weights, {"prior": "auxiliary_images", "images": len(order), "classes": classes}

    @staticmethod
    def load(weights: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return (images ``[n, c, h, w]`` in [0, 1], labels ``[n]``)."""
        return weights["images"].float() / 255, weights["labels"]
