"""The knowledge of an attack: the stripped observation, its threat model, and priors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from gradsiege.attacks.spaces.pixels import Pixels
from gradsiege.models.head import Head, head_of
from gradsiege.priors.base import TrainedPrior
from gradsiege.protocol.observation import Observation
from gradsiege.protocol.threat_model import ThreatModel


@dataclass(frozen=True)
class Knowledge:
    """All inputs of an attack: the stripped observation, its threat model, and the attacker's trained priors."""

    observation: Observation
    threat: ThreatModel
    priors: tuple[TrainedPrior, ...] = ()

    def trained(self, *names: str) -> TrainedPrior | None:
        """Return the first prior of one of these kinds, or None."""
        return next((prior for prior in self.priors if prior.name in names), None)

    @property
    def device(self) -> torch.device:
        """The device of the attack, which is that of its observation."""
        return next(iter(self.observation.update.values())).device

    @cached_property
    def head(self) -> Head:
        """The last linear layer of the global model, found by its structure."""
        seen = self.observation
        return head_of(seen.model, {**seen.parameters, **seen.buffers})

    def model(self) -> nn.Module:
        """Return the architecture of the global model, its weights left at their initial values."""
        return self.observation.model.build()

    def pixels(self) -> Pixels:
        """Return the pixel space of the private images."""
        return Pixels(*self.pixel_arguments())

    def pixel_arguments(self) -> tuple[tuple[int, int, int, int], Tensor, Tensor]:
        """Return (shape of one element, channel mean, channel deviation)."""
        buffers = self.observation.buffers
        return (
            (self.observation.images_per_client, *self.observation.image_shape),
            buffers["normalisation.mean"],
            buffers["normalisation.deviation"],
        )
