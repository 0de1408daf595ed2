"""A small classifier of five classes and a short attack on it, for tests of the way in from Python."""

from __future__ import annotations

import torch
from torch import nn

import gradsiege as gs

ATTACK = gs.attacks.InvertingGradients(iterations=3)


def small() -> nn.Module:
    """A classifier of images [n, 3, 16, 16], with the same weights at every call."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 5))
