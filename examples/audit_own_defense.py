"""Audit a defense of one's own beside no defense: what it brings, and what it costs."""

from dataclasses import dataclass

import torch
from torch import nn

import gradsiege as gs
from gradsiege.defenses.base import Defense


@dataclass(frozen=True)
class OnlySigns(Defense):
    def transform_update(self, update, client):
        return {name: value.sign() for name, value in update.items()}


torch.manual_seed(0)
network = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 49, 5))
images, public, labels = *torch.rand(2, 8, 3, 16, 16), torch.arange(8) % 5
budget = gs.Budget("seconds", 60.0, pictures=4, iterations=10, trials=1)
result = gs.audit(network, images, labels, None, [None, OnlySigns()], budget, aux=public)
for found in result.findings:
    print(f"{found.situation.name}: {found.psnr.estimate:.1f} dB, {found.verdict}")
