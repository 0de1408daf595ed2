"""The mean of the auxiliary images: an example of a prior."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.priors.base import Prior, Trained
from gradsiege.priors.resumable import UNSAVED, Checkpointer
from gradsiege.ranges import PositiveShare

VERSION = 1


@dataclass(frozen=True)
class MeanImage(Prior):
    """`fraction` of `aux` that the attacker owns."""

    name = "mean_image"

    fraction: PositiveShare = 1.0

    def train(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        checkpointer: Checkpointer = UNSAVED,
    ) -> Trained:
        """Return (the mean ``[c, h, w]``, card)."""
        kept = max(1, round(self.fraction * len(images)))
        return {"mean": images[:kept].mean(0)}, {"prior": self.name, "images": kept}

    @staticmethod
    def load(weights: dict[str, Tensor]) -> Tensor:
        """Return the mean ``[c, h, w]``."""
        return weights["mean"]
