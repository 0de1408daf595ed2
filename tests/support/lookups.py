"""Galleries, auxiliary images and observations for tests of attacks that choose among images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import gradsiege as gs
from gradsiege.priors.auxiliary_images import AuxiliaryImages
from gradsiege.priors.base import TrainedPrior
from gradsiege.protocol.observation import Observation

SIDE, CLASSES = 8, 4


def pictures(count: int, seed: int) -> Tensor:
    """Images ``[count, 1, 8, 8]`` of whole bytes, which priors and galleries store without a loss."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 1, SIDE, SIDE), generator=generator).float() / 255


def auxiliary(images: Tensor, labels: Tensor) -> TrainedPrior:
    """The attacker's own images as they are."""
    return AuxiliaryImages().fit(images, labels)


def network(seed: int = 0) -> nn.Module:
    """A small smooth network with batch norm in between."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, 2), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(27, CLASSES)
    )


def observed(images: Tensor, labels: Tensor, **how: Any) -> Observation:
    """What a server sees of one client per image."""
    return gs.observe(network(), images, labels, **how)
