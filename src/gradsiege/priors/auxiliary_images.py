"""The auxiliary images themselves with their labels, for an attack that learns from them what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gradsiege.images import to_bytes
from gradsiege.priors.resumable import UNSAVED, Checkpointer
from gradsiege.ranges import Checked, PositiveShare

VERSION = 1
LEAST_IMAGES = 2


@dataclass(frozen=True)
class Parameters(Checked):
    """`fraction` of `aux` that the attacker owns."""

    fraction: PositiveShare = 1.0


def train(
    images: Tensor,
    labels: Tensor,
    parameters: Parameters,
    generator: torch.Generator,
    checkpointer: Checkpointer = UNSAVED,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return (images uint8 ``[n, c, h, w]`` in random order with labels ``[n]``, card); nothing is trained."""
    kept = max(2, round(parameters.fraction * len(images)))
    order = torch.randperm(len(images), generator=generator)[:kept]
    weights = {"images": to_bytes(images[order]), "labels": labels[order].clone()}
    classes = len(labels[order].unique())
    return weights, {"prior": "auxiliary_images", "images": len(order), "classes": classes}


def load(weights: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return (images ``[n, c, h, w]`` in [0, 1], labels ``[n]``)."""
    return weights["images"].float() / 255, weights["labels"]
