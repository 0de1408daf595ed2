"""A classifier of the generator's own training images, which predicts the class of a coarse reconstruction (arXiv 2604.00955)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradsiege.models import ModelSpec, build
from gradsiege.priors.base import Prior, Trained
from gradsiege.priors.held_out import hold_out, mirror_some
from gradsiege.priors.resumable import UNSAVED, Checkpointer, Parts
from gradsiege.ranges import Count, Range, Rate, Spread, Width

VERSION = 1
LEAST_IMAGES = 4
WEIGHT_DECAY = 5e-4
MOMENTUM = 0.9


@dataclass(frozen=True)
class MappingClassifier(Prior):
    """ResNet-18 on the classes of a generator, for GIFD's label mapping (arXiv 2604.00955).

    Published: 20 epochs of batches of 128, SGD with Nesterov momentum at 0.1. The step falls to zero along a cosine; the released
    milestones lie past the last epoch. Noise and blur degrade the training images, since it will classify coarse reconstructions.

    Attributes:
        width: of ResNet-18; 64 in the release.
        epochs: passes over the auxiliary images.
        batch_size: images of a step.
        learning_rate: at the first step.
        noise: every image gets a deviation of Gaussian noise in [0, noise], on [0, 1].
        blur: every image gets a Gaussian blur of a deviation in [0, blur] pixels.
    """

    name = "mapping_classifier"

    width: Width = 16
    epochs: Count = 20
    batch_size: Count = 128
    learning_rate: Rate = 0.1
    noise: Spread = 0.0
    blur: Annotated[float, Range(0, 64)] = 0.0

    def train(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        checkpointer: Checkpointer = UNSAVED,
    ) -> Trained:
        """Return (weights, card); the card has the top-1 accuracy on a held-out tenth, clean and degraded.

        Args:
            images: ``[n, c, h, w]`` in [0, 1], those that the generator was trained on.
            labels: ``[n]``, the generator's classes.
            generator: the only source of randomness.
        """
        if len(images) < LEAST_IMAGES:
            raise ValueError("the mapping classifier needs at least 4 images: some are held out")
        labels = labels.long()
        classes, channels, size = int(labels.max()) + 1, images.shape[1], images.shape[-1]
        held_out, training = hold_out(torch.randperm(len(images), generator=generator))
        network = build(_spec(self.width, classes, channels, size), generator)
        _fit(network, images[training], labels[training], self, generator, checkpointer)
        degraded = degrade(images[held_out], self.noise, self.blur, generator)
        frequent = labels[training].bincount(minlength=classes).argmax()
        card = {
            "prior": "mapping_classifier",
            "trained_on": len(training),
            "held_out": len(held_out),
            "classes": classes,
            "size": size,
            "parameters": sum(value.numel() for value in network.parameters()),
            "held_out_top1": _top1(network, images[held_out], labels[held_out]),
            "held_out_top1_degraded": _top1(network, degraded, labels[held_out]),
            "held_out_top1_most_frequent": float((labels[held_out] == frequent).double().mean()),
        }
        return {name: value.detach() for name, value in network.state_dict().items()}, card

    @staticmethod
    def load(weights: dict[str, Tensor]) -> nn.Module:
        """Return the trained classifier of images in [0, 1], frozen; its shape is read from the weights."""
        width, channels = weights["body.stem.0.weight"].shape[:2]
        # Pooled globally, a ResNet's weights do not depend on the size of its images.
        network = build(_spec(width, len(weights["body.head.weight"]), channels, 32))
        network.load_state_dict(weights)
        return network.eval().requires_grad_(False)


def degrade(images: Tensor, noise: float, blur: float, generator: torch.Generator) -> Tensor:
    """Blur and add noise to images ``[n, c, h, w]`` in [0, 1], each by its own amount, uniform up to the given maximum."""
    n, channels, height, width = images.shape
    if blur:
        reach = math.ceil(3 * blur)
        places = torch.arange(-reach, reach + 1.0)
        sigma = blur * torch.rand((n, 1), generator=generator).clamp_min(1e-3)
        kernel = torch.softmax(-(places**2) / (2 * sigma**2), 1).repeat_interleave(channels, 0)
        rows = F.pad(images, (reach,) * 4, mode="replicate").flatten(0, 1)[None]
        rows = F.conv2d(rows, kernel[:, None, None], groups=n * channels)
        rows = F.conv2d(rows, kernel[:, None, :, None], groups=n * channels)
        images = rows.view(n, channels, height, width)
    if noise:
        deviation = noise * torch.rand((n, 1, 1, 1), generator=generator)
        images = images + deviation * torch.randn(images.shape, generator=generator)
    return images.clamp(0, 1)


def _spec(width: int, classes: int, channels: int, size: int) -> ModelSpec:
    return ModelSpec("resnet18", {"width": width}, classes, channels, size)


def _fit(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    prior: MappingClassifier,
    generator: torch.Generator,
    checkpointer: Checkpointer,
) -> None:
    """Train in place; horizontal flips, then degradation."""
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=prior.learning_rate,
        momentum=MOMENTUM,
        weight_decay=WEIGHT_DECAY,
        nesterov=True,
    )
    steps = prior.epochs * -(-len(images) // prior.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    network.train()
    parts: Parts = {"network": network, "optimizer": optimizer, "schedule": schedule}
    for _ in checkpointer.steps(prior.epochs, "mapping classifier", parts, generator):
        order = torch.randperm(len(images), generator=generator)
        for rows in order.split(prior.batch_size):
            batch = mirror_some(images[rows], generator)
            batch = degrade(batch, prior.noise, prior.blur, generator)
            optimizer.zero_grad()
            F.cross_entropy(network(batch), labels[rows]).backward()
            optimizer.step()
            schedule.step()
    network.eval()


def _top1(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        seen = torch.cat([network(part).argmax(1) for part in images.split(256)])
    return float((seen == labels).double().mean())
