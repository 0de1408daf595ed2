"""TIP's rival "DP": Gaussian noise on every trained weight, as its paper runs it; this is not DP-SGD (arXiv 2602.11633)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gradsiege.defenses.base import Client, Defense
from gradsiege.defenses.tip.noise import clip_gradient, factor_for_norm, noise_scale
from gradsiege.protocol.local_update import Step, Tensors
from gradsiege.ranges import Epsilon, PositiveSize, Probability, Spread

VERSION = 1


@dataclass(frozen=True)
class TipDp(Defense):
    """N(0, sigma^2) on every trainable parameter after local training, batch norm and head included.

    It is part of TIP's published figure: sigma is TIP's beta, undivided (see
    `tip_noise.noise_scale`), and the gradient of each local step is clipped as the mean of its batch. DP-SGD (Abadi et
    al., CCS 2016) clips per example, adds noise in every step and accounts for all of them; this does none of
    that, and its epsilon guarantees nothing.

    Attributes:
        epsilon, delta: budget in name, as in `tip`.
        clip: bound C on the norm of a step's mean gradient, as in `tip`.
        noise_norm: root mean square l2 norm of the whole noise, in weight units, instead of what epsilon gives.
    """

    name = "tip_dp"

    epsilon: Epsilon = 5.0
    delta: Probability = 1e-5
    clip: PositiveSize = 5.0
    noise_norm: Spread | None = None

    def transform_gradient(self, gradient: Tensors, step: Step, client: Client) -> Tensors:
        """Clip the gradient of a local step: g min(1, C / (|g| + 1e-6)).

        Takes and returns tensors by name, each of the shape of its parameter.
        """
        return clip_gradient(gradient, self.clip)

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Add the noise to the weights; in the unit of the update that is minus noise / learning rate.

        Takes and returns tensors by name, each of the shape of its parameter.
        """
        p = self
        sigma = noise_scale(client.training, p.clip, p.epsilon, p.delta)
        if p.noise_norm is not None:
            count = sum(value.numel() for value in update.values())
            sigma = factor_for_norm(p.noise_norm, count, self.name)
        scale = sigma / client.training.learning_rate
        return {
            name: value - scale * torch.randn(value.shape, generator=client.generator)
            for name, value in update.items()
        }
