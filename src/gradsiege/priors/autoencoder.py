"""GI-PIP's autoencoder, whose reconstruction error measures how much a candidate differs from the auxiliary images (arXiv 2401.11748)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradsiege.models.layers import initialize
from gradsiege.priors.base import Prior, Trained
from gradsiege.priors.held_out import hold_out, mirror_some
from gradsiege.priors.resumable import UNSAVED, Checkpointer, Parts
from gradsiege.ranges import Count, PositiveShare, Rate

VERSION = 1
LEAST_IMAGES = 2
SIDE_MULTIPLE = 8


@dataclass(frozen=True)
class Autoencoder(Prior):
    """GI-PIP's prior: an autoencoder, whose error is low on images like those it has seen.

    Attributes:
        fraction: share of the auxiliary images that the attacker owns, in (0, 1].
        epochs: passes over them.
        batch_size: images of a step.
        learning_rate: of Adam.
    """

    name = "autoencoder"

    fraction: PositiveShare = 1.0
    epochs: Count = 100
    batch_size: Count = 128
    learning_rate: Rate = 1e-3

    def train(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        checkpointer: Checkpointer = UNSAVED,
    ) -> Trained:
        """Return (weights, card). A tenth of the images is held out; its mean error is GI-PIP's m0.

        images: ``[n, c, h, w]`` in [0, 1]; labels: ``[n]``.
        """
        held_out, training = split(images, self.fraction, generator)
        network = fit(training, self, generator, checkpointer=checkpointer)
        about = {"prior": "autoencoder", **card(network, held_out, training)}
        return dict(network.state_dict()), about

    @staticmethod
    def load(weights: dict[str, Tensor]) -> AutoencoderNetwork:
        """Return the trained network, frozen.

        weights: by name, each in the shape in which `train` returned it.
        """
        network = AutoencoderNetwork(weights["encoder.0.weight"].shape[1])
        network.load_state_dict(weights)
        return network.eval().requires_grad_(False)


class AutoencoderNetwork(nn.Module):
    """Three 4x4 stride-2 convolutions 3-12-24-48 with ReLU and their mirror, sigmoid output; code 4:1."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, 12, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(12, 24, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(24, 48, 4, 2, 1),
            nn.ReLU(),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(48, 24, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(24, 12, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(12, channels, 4, 2, 1),
            nn.Sigmoid(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Reconstruct images ``[n, c, h, w]`` in [0, 1]."""
        decoded: Tensor = self.decoder(self.encoder(images))
        return decoded


def reconstruction_error(network: nn.Module, images: Tensor) -> Tensor:
    """Return the mean squared reconstruction error of each image, ``[n]``."""
    errors: Tensor = (images - network(images)).square().flatten(1).mean(1)
    return errors


def split(images: Tensor, fraction: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return (held-out, training) images of the fraction that the attacker owns; a tenth is held out.

    images: ``[n, c, h, w]``; the two parts together are ``[fraction n, c, h, w]``.
    """
    kept = max(2, round(fraction * len(images)))
    held_out, training = hold_out(torch.randperm(len(images), generator=generator)[:kept])
    return images[held_out], images[training]


def card(network: nn.Module, held_out: Tensor, training: Tensor) -> dict[str, Any]:
    """Return the numbers about the prior that GI-PIP needs, above all the mean error on held-out images, its m0.

    held_out, training: ``[n, c, h, w]`` in [0, 1].
    """
    with torch.no_grad():
        errors = reconstruction_error(network, held_out)
    return {
        "trained_on": len(training),
        "held_out": len(held_out),
        "parameters": sum(value.numel() for value in network.state_dict().values()),
        "held_out_error_mean": float(errors.mean()),
        "held_out_error_deviation": float(errors.std()) if len(held_out) > 1 else 0.0,
        "mean_image_error": float((held_out - training.mean(0)).square().mean()),
    }


def fit(
    training: Tensor,
    budget: Autoencoder,
    generator: torch.Generator,
    corrupt: Callable[[Tensor], Tensor] = lambda batch: batch,
    checkpointer: Checkpointer = UNSAVED,
) -> AutoencoderNetwork:
    """Return the network trained to restore images ``[n, c, h, w]`` from their versions corrupted by `corrupt`.

    The loss is the mean squared error, since the anomaly score is one; Adam, horizontal flips.
    """
    network = AutoencoderNetwork(training.shape[1])
    initialize(network, generator)
    optimizer = torch.optim.Adam(network.parameters(), lr=budget.learning_rate, fused=True)
    parts: Parts = {"network": network, "optimizer": optimizer}
    for _ in checkpointer.steps(budget.epochs, "autoencoder", parts, generator):
        shuffled = training[torch.randperm(len(training), generator=generator)]
        for batch in mirror_some(shuffled, generator).split(budget.batch_size):
            optimizer.zero_grad()
            F.mse_loss(network(corrupt(batch)), batch).backward()
            optimizer.step()
    return network
