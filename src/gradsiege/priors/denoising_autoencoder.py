"""GI-PIP's autoencoder trained to remove noise (Vincent et al., ICML 2008): a control of what its score measures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.priors import autoencoder
from gradsiege.priors.autoencoder import Autoencoder, AutoencoderNetwork
from gradsiege.priors.base import Prior, Trained
from gradsiege.priors.resumable import UNSAVED, Checkpointer
from gradsiege.ranges import Count, PositiveShare, Rate, Spread

VERSION = 1
LEAST_IMAGES = 2
SIDE_MULTIPLE = 8


@dataclass(frozen=True)
class DenoisingAutoencoder(Prior):
    """The autoencoder, trained to remove noise: a control of GI-PIP's prior.

    Attributes:
        fraction: share of the auxiliary images that the attacker owns, in (0, 1].
        epochs: passes over them.
        batch_size: images of a step.
        learning_rate: of Adam.
        noise: deviation of the Gaussian noise on images in [0, 1].
    """

    name = "denoising_autoencoder"

    fraction: PositiveShare = 1.0
    epochs: Count = 100
    batch_size: Count = 128
    learning_rate: Rate = 1e-3
    noise: Spread = 0.1

    def train(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        checkpointer: Checkpointer = UNSAVED,
    ) -> Trained:
        """Return (weights, card): noise goes in during training alone, so that scores compare with the autoencoder's.

        images: ``[n, c, h, w]`` in [0, 1]; labels: ``[n]``.
        """
        held_out, training = autoencoder.split(images, self.fraction, generator)

        def corrupt(batch: Tensor) -> Tensor:
            return batch + self.noise * torch.randn(batch.shape, generator=generator)

        budget = Autoencoder(self.fraction, self.epochs, self.batch_size, self.learning_rate)
        network = autoencoder.fit(training, budget, generator, corrupt, checkpointer)
        with torch.no_grad():
            noisy = corrupt(held_out)
            left = (network(noisy) - held_out).square().mean() / (noisy - held_out).square().mean()
        card = {
            "prior": "denoising_autoencoder",
            **autoencoder.card(network, held_out, training),
            "held_out_noise_left": float(left),
        }
        return dict(network.state_dict()), card

    @staticmethod
    def load(weights: dict[str, Tensor]) -> AutoencoderNetwork:
        """Return the trained network, frozen.

        weights: by name, each in the shape in which `train` returned it.
        """
        return Autoencoder.load(weights)
