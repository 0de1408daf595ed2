"""A small class-conditional diffusion model (EDM; Karras et al., NeurIPS 2022), trained on `aux` for posterior sampling."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from gradsiege.arithmetic import square_root
from gradsiege.models.layers import initialize
from gradsiege.priors.averaging import move_average
from gradsiege.priors.base import Prior, Trained
from gradsiege.priors.denoiser.network import Preconditioned, UNet, from_weights
from gradsiege.priors.denoiser.preconditioning import to_signed, training_noise, weighted_loss
from gradsiege.priors.held_out import hold_out, mirror_some
from gradsiege.priors.resumable import UNSAVED, Checkpointer, Parts
from gradsiege.ranges import Count, PartialShare, Range, Rate, Share

VERSION = 1
LEAST_IMAGES = 2
SIDE_MULTIPLE = 8
# Draws of noise per held-out image, the same before and after the training.
DRAWS = 8
LARGEST_BATCH = 256
WARM_UP = 100


@dataclass(frozen=True)
class Denoiser(Prior):
    """Shape and training budget.

    Attributes:
        width: channels of the finest level; 32 makes 0.44 million parameters.
        steps, batch_size, learning_rate: of Adam; the rate grows over the first 100 steps and falls to zero as a half-cosine.
        averaging: decay of the moving average of the weights, which grows from 0 to it; the average is kept.
        unlabelled: share of the images that are shown without their class, so that the model knows both (Ho and Salimans,
            arXiv 2207.12598).
    """

    name = "denoiser"
    square = True

    width: Annotated[int, Range(8, 4096)] = 32
    steps: Count = 10000
    batch_size: Count = 64
    learning_rate: Rate = 2e-3
    averaging: PartialShare = 0.999
    unlabelled: Share = 0.1

    def train(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        checkpointer: Checkpointer = UNSAVED,
    ) -> Trained:
        """Return (weights, card) of the averaged denoiser.

        A tenth of the images is held out; the card states their loss, which is about 1 before the training.

        Args:
            images: ``[n, c, h, w]`` in [0, 1], mirrored at random.
            labels: ``[n]``; the denoiser knows the classes 0 to the largest label, and the unknown class.
            generator: the only source of randomness.
            checkpointer: takes the training up again where it was left.
        """
        held_out, training = hold_out(torch.randperm(len(images), generator=generator))
        pupil = Pupil(self, to_signed(images[training]), labels[training].long(), generator)
        unseen = noisy(to_signed(images[held_out]), labels[held_out].long(), generator)
        before = mean_loss(pupil.average, unseen)
        for number in checkpointer.steps(self.steps, "denoiser", pupil.parts(), generator):
            pupil.step(number)
        card = {
            "prior": "denoiser",
            "trained_on": len(training),
            "held_out": len(held_out),
            "size": images.shape[-1],
            "classes": pupil.network.network.classes,
            "parameters": sum(value.numel() for value in pupil.average.parameters()),
            "steps": self.steps,
            "held_out_loss": mean_loss(pupil.average, unseen),
            "held_out_loss_untrained": before,
        }
        return {name: value.detach() for name, value in pupil.average.state_dict().items()}, card

    @staticmethod
    def load(weights: dict[str, Tensor]) -> Preconditioned:
        """Return the trained denoiser, frozen; its shape is read from the weights."""
        return from_weights(weights).eval().requires_grad_(False)


Noisy = tuple[Tensor, Tensor, Tensor, Tensor]


def noisy(images: Tensor, labels: Tensor, generator: torch.Generator) -> Noisy:
    """Return (images, noisy images, sigma, labels), each image `DRAWS` times.

    images: ``[n, c, h, w]`` in [-1, 1]; labels: ``[n]``; sigma: ``[DRAWS n]``.
    """
    images, labels = images.repeat(DRAWS, 1, 1, 1), labels.repeat(DRAWS)
    sigma = training_noise(len(images), generator)
    noise = torch.randn(images.shape, generator=generator)
    return images, images + sigma[:, None, None, None] * noise, sigma, labels


def mean_loss(network: Preconditioned, unseen: Noisy) -> float:
    """Return the mean of `weighted_loss` over noisy images."""
    with torch.no_grad():
        losses = [
            weighted_loss(network(x, sigma, labels), images, sigma, network.spread)
            for images, x, sigma, labels in zip(
                *(part.split(LARGEST_BATCH) for part in unseen), strict=True
            )
        ]
    return float(torch.cat(losses).mean())


class Pupil:
    """Denoiser, its moving average, and one training step of them."""

    def __init__(
        self, prior: Denoiser, images: Tensor, labels: Tensor, random: torch.Generator
    ) -> None:
        self.prior, self.images, self.labels, self.random = prior, images, labels, random
        spread = square_root(images.square().mean()).clamp_min(1e-3)
        unet = UNet(prior.width, int(labels.max()) + 1, images.shape[1])
        self.network = Preconditioned(unet, spread, images.shape[-1])
        initialize(self.network, random)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=prior.learning_rate, fused=True
        )

    def rate(self, number: int) -> float:
        """Return the learning rate of a step: a linear ramp up times a half-cosine down to zero."""
        up = min(1.0, (number + 1) / WARM_UP)
        down = (1 + math.cos(math.pi * number / self.prior.steps)) / 2
        return self.prior.learning_rate * up * down

    def step(self, number: int) -> None:
        """Descend on the weighted loss of a batch, then move the average."""
        drawn = torch.randint(len(self.images), (self.prior.batch_size,), generator=self.random)
        images = mirror_some(self.images[drawn], self.random)
        hidden = torch.rand(len(drawn), generator=self.random) < self.prior.unlabelled
        labels = self.labels[drawn].masked_fill(hidden, self.network.network.classes)
        sigma = training_noise(len(drawn), self.random)
        noise = torch.randn(images.shape, generator=self.random)
        denoised = self.network(images + sigma[:, None, None, None] * noise, sigma, labels)
        self.optimizer.param_groups[0]["lr"] = self.rate(number)
        self.optimizer.zero_grad()
        weighted_loss(denoised, images, sigma, self.network.spread).mean().backward()
        self.optimizer.step()
        move_average(self.average, self.network, number, self.prior.averaging)

    def parts(self) -> Parts:
        """Everything that a step changes."""
        return {
            "network": self.network,
            "average": self.average,
            "optimizer": self.optimizer,
        }
