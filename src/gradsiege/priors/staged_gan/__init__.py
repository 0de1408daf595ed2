"""A small conditional generator with a discriminator, trained on `aux` for the generator-based attacks."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from gradsiege.models.layers import initialize
from gradsiege.priors.averaging import move_average
from gradsiege.priors.base import Prior, Trained
from gradsiege.priors.held_out import hold_out, mirror_some
from gradsiege.priors.resumable import UNSAVED, Checkpointer, Parts
from gradsiege.priors.staged_gan import quality as generator_quality
from gradsiege.priors.staged_gan.augmentation import augment
from gradsiege.priors.staged_gan.discriminator import (
    Discriminator,
    class_spread,
    discriminator_loss,
    diversity_loss,
    generator_loss,
)
from gradsiege.priors.staged_gan.generator import StagedGenerator, from_weights
from gradsiege.ranges import Count, PartialShare, Range, Rate, Weight, Width

VERSION = 1
LEAST_IMAGES = 4
SIDE_MULTIPLE = 2
SAMPLES = 500


@dataclass(frozen=True)
class StagedGAN(Prior):
    """A conditional generator in stages, and a discriminator, trained against each other.

    Attributes:
        latent: dimensions of z.
        width: channels of the generator's finest stage.
        discriminator_width: channels of the discriminator's first layer.
        steps: updates of the generator, one of the discriminator each.
        batch_size: images of a step.
        learning_rate: of Adam, for both.
        averaging: decay of the generator's moving average, which grows from 0 to it (`priors.averaging`).
        diversity: weight of the reward for images that change with z, without which 1,500 photographs gave one image per class.
        augmentation: show the discriminator recoloured, shifted and partly cut out images (`augmentation`).
    """

    name = "staged_gan"
    square = True

    latent: Width = 64
    width: Width = 32
    discriminator_width: Width = 32
    steps: Count = 20000
    batch_size: Annotated[int, Range(2, 1_000_000_000)] = 32
    learning_rate: Rate = 5e-4
    averaging: PartialShare = 0.999
    diversity: Weight = 1.0
    augmentation: bool = True

    def train(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        checkpointer: Checkpointer = UNSAVED,
    ) -> Trained:
        """Return (weights, card) of the averaged generator.

        Hinge loss, spectral norm and class projection in the discriminator, differentiable augmentation of both
        players' images, horizontal flips, a bounded reward for diversity. A tenth of the images is held out for
        the card alone.

        Args:
            images: ``[n, c, h, w]`` in [0, 1].
            labels: ``[n]``; the generator knows the classes 0 to the largest label.
            generator: the only source of randomness.
        """
        if len(images) < LEAST_IMAGES:
            raise ValueError("the staged generator needs at least 4 images: some are held out")
        labels = labels.long()
        held_out, training = hold_out(torch.randperm(len(images), generator=generator), least=2)
        players = _Players(self, images[training], labels[training], generator)
        untrained = copy.deepcopy(players.average)
        for number in checkpointer.steps(
            self.steps, "staged generator", players.parts(), generator
        ):
            drawn = torch.randint(len(training), (self.batch_size,), generator=generator)
            batch = mirror_some(images[training[drawn]], generator)
            players.step(number, batch, labels[training[drawn]])
        drawn = torch.randint(len(training), (SAMPLES,), generator=generator)
        latents, asked, real = players.latents(SAMPLES), labels[training[drawn]], images[held_out]
        with torch.no_grad():
            generated, raw = players.average(latents, asked), untrained(latents, asked)
        known = images[training[drawn]]
        measured, before, floor = (
            generator_quality.compare(real, sample) for sample in (generated, raw, known)
        )
        card = {
            "prior": "staged_gan",
            "trained_on": len(training),
            "held_out": len(held_out),
            "size": images.shape[-1],
            "classes": players.network.classes,
            "latent": self.latent,
            "parameters": sum(value.numel() for value in players.average.parameters()),
            "steps": self.steps,
            "extractor": generator_quality.EXTRACTOR,
            "samples": SAMPLES,
            **measured,
            "frechet_distance_untrained": before["frechet_distance"],
            "frechet_distance_of_training_images": floor["frechet_distance"],
            **generator_quality.compare_by_alexnet(real, generated, raw, known),
        }
        return {name: value.detach() for name, value in players.average.state_dict().items()}, card

    @staticmethod
    def load(weights: dict[str, Tensor]) -> StagedGenerator:
        """Return the trained generator, frozen; its shape is read from the weights."""
        return from_weights(weights).eval().requires_grad_(False)


class _Players:
    """Generator, its moving average, discriminator, and one training step of them."""

    def __init__(
        self, prior: StagedGAN, images: Tensor, labels: Tensor, random: torch.Generator
    ) -> None:
        self.prior, self.random = prior, random
        classes, shape = int(labels.max()) + 1, (images.shape[1], images.shape[-1])
        self.spread = class_spread(images, labels, classes)
        self.network = StagedGenerator(prior.latent, prior.width, classes, *shape)
        self.judge = Discriminator(prior.discriminator_width, classes, *shape)
        initialize(self.network, random)
        initialize(self.judge, random)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        # No momentum in the first moment, as in most discriminator training since Karras et al. (ICLR 2018).
        rate, betas = prior.learning_rate, (0.0, 0.99)
        self.forger = torch.optim.Adam(self.network.parameters(), lr=rate, betas=betas, fused=True)
        self.critic = torch.optim.Adam(self.judge.parameters(), lr=rate, betas=betas, fused=True)

    def step(self, number: int, images: Tensor, labels: Tensor) -> None:
        """Update the discriminator, then the generator, on a batch in [0, 1]; then the average.

        Generated images come in pairs of one class, whose difference the generator is held to.
        """
        half = len(labels) // 2
        asked = torch.cat([labels[:half], labels[:half]])
        fakes = self.network(self.latents(len(asked)), asked)
        self.critic.zero_grad()
        discriminator_loss(self.look(images, labels), self.look(fakes.detach(), asked)).backward()
        self.critic.step()
        self.forger.zero_grad()
        self.judge.requires_grad_(False)
        apart = diversity_loss(fakes[:half], fakes[half:], self.spread[asked[:half]])
        (generator_loss(self.look(fakes, asked)) + self.prior.diversity * apart).backward()
        self.judge.requires_grad_(True)
        self.forger.step()
        move_average(self.average, self.network, number, self.prior.averaging)

    def parts(self) -> Parts:
        """Everything that a step changes."""
        return {
            "network": self.network,
            "judge": self.judge,
            "average": self.average,
            "forger": self.forger,
            "critic": self.critic,
        }

    def latents(self, count: int) -> Tensor:
        """Draw z from N(0, I)."""
        return torch.randn((count, self.prior.latent), generator=self.random)

    def look(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the discriminator's score of augmented images."""
        seen = 2 * images - 1
        if self.prior.augmentation:
            seen = augment(seen, self.random)
        score: Tensor = self.judge(seen, labels)
        return score
