"""Shadow's image generator, pretrained on the defender's public images by generative latent optimisation (arXiv 1707.05776)."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradsiege.arithmetic import square_root
from gradsiege.models.layers import initialize
from gradsiege.priors.base import Prior, Trained
from gradsiege.priors.held_out import hold_out
from gradsiege.priors.resumable import UNSAVED, Checkpointer, Parts
from gradsiege.ranges import Count, CountOrZero, Rate, Width

VERSION = 1
LEAST_IMAGES = 2
SIDE_MULTIPLE = 2
SMALLEST_MAP = 4


@dataclass(frozen=True)
class ShadowGenerator(Prior):
    """A generator whose latents are trained beside its weights.

    Attributes:
        latent: dimensions of a latent.
        width: channels of the finest layer.
        epochs: passes over the images.
        batch_size: images of a step.
        learning_rate: of Adam on the weights.
        latent_learning_rate: of Adam on the latents, in training and in the search that grades the result.
        search_steps: of that search, for every image held out.
    """

    name = "shadow_generator"
    square = True

    latent: Width = 64
    width: Width = 16
    epochs: Count = 40
    batch_size: Count = 32
    learning_rate: Rate = 3e-3
    latent_learning_rate: Rate = 1e-2
    search_steps: CountOrZero = 200

    def train(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        checkpointer: Checkpointer = UNSAVED,
    ) -> Trained:
        """Return (weights, card) of a generator that has one latent per training image.

        Generative latent optimisation (Bojanowski et al., ICML 2018): minimise the mean squared error of G(z_i)
        and x_i over the weights and all z_i in the unit ball. A tenth of the images is held out; the card
        gives their error after a latent search, beside that of the mean image. No label is read.
        """
        if len(images) < LEAST_IMAGES:
            raise ValueError("the shadow generator needs at least 2 images: one is held out")
        order = torch.randperm(len(images), generator=generator)
        held_out, training = (images[part] for part in hold_out(order))
        held = len(held_out)
        network = ShadowGeneratorNetwork(self.latent, self.width, images.shape[1], images.shape[-1])
        initialize(network, generator)
        training_error = _fit(network, training, self, generator, checkpointer)
        weights = {name: value.detach() for name, value in network.state_dict().items()}
        start = torch.zeros(held, self.latent)
        rate = self.latent_learning_rate
        latents = find_latents(self.load(weights), held_out, start, self.search_steps, rate)
        with torch.no_grad():
            errors = (network(latents) - held_out).square().flatten(1).mean(1)
        card = {
            "prior": "shadow_generator",
            "trained_on": len(training),
            "held_out": held,
            "size": images.shape[-1],
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "training_error": training_error,
            "held_out_error_mean": float(errors.mean()),
            "held_out_error_deviation": float(errors.std()) if held > 1 else 0.0,
            "mean_image_error": float((held_out - training.mean(0)).square().mean()),
        }
        return weights, card

    @staticmethod
    def load(weights: dict[str, Tensor]) -> ShadowGeneratorNetwork:
        """Return the trained generator, frozen; its shape is read from the weights."""
        last, start = weights["image.weight"], weights["start.weight"]
        doublings = sum(name.startswith("blocks.") and name.endswith("weight") for name in weights)
        side = math.isqrt(len(start) // weights["blocks.0.weight"].shape[1])
        network = ShadowGeneratorNetwork(
            start.shape[1], last.shape[1], len(last), side * 2**doublings
        )
        network.load_state_dict(weights)
        return network.eval().requires_grad_(False)


def pyramid(size: int) -> tuple[int, int]:
    """Return (side of the coarsest map, doublings) such that side * 2 ** doublings = size.

    >>> pyramid(32), pyramid(224), pyramid(28)
    ((4, 3), (7, 5), (7, 2))
    """
    side, doublings = size, 0
    while side % 2 == 0 and side > SMALLEST_MAP:
        side, doublings = side // 2, doublings + 1
    if doublings == 0:
        raise ValueError(
            f"a map that is doubled up to the image needs an even side above 4 pixels, not {size}"
        )
    return side, doublings


def double(x: Tensor) -> Tensor:
    """Repeat every position of ``[n, c, h, w]`` twice in both directions, by reshaping alone.

    >>> double(torch.tensor([[[[1.0, 2.0]]]]))
    tensor([[[[1., 1., 2., 2.],
              [1., 1., 2., 2.]]]])
    """
    n, c, h, w = x.shape
    return x[:, :, :, None, :, None].expand(n, c, h, 2, w, 2).reshape(n, c, 2 * h, 2 * w)


def project(latents: Tensor) -> Tensor:
    """Return latents ``[n, d]`` moved into the unit ball, z / max(1, |z|) (GLO, section 2).

    >>> project(torch.tensor([[3.0, 4.0], [0.5, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.5000, 0.0000]])
    """
    length: Tensor = latents.norm(dim=1, keepdim=True)
    return latents / length.clamp(min=1)


class ShadowGeneratorNetwork(nn.Module):
    """G(z): a linear layer, then doublings with a 3x3 convolution each, and a sigmoid at the image.

    Leaky ReLU between the layers. No normalisation couples the images of a batch, nothing is in
    place or random: G is a pure function of (weights, z) that can be differentiated twice.
    """

    def __init__(self, latent: int, width: int, channels: int, size: int) -> None:
        super().__init__()
        self.latent = latent
        self.side, doublings = pyramid(size)
        widths = [width * min(4, 2 ** (doublings - level)) for level in range(doublings + 1)]
        self.start = nn.Linear(latent, widths[0] * self.side**2)
        self.blocks = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, padding=1)
            for inputs, outputs in itertools.pairwise(widths)
        )
        self.image = nn.Conv2d(widths[-1], channels, 3, padding=1)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        size = self.side * 2 ** len(self.blocks)
        return self.image.out_channels, size, size

    def forward(self, latents: Tensor) -> Tensor:
        """Map latents ``[n, latent]`` to images ``[n, channels, size, size]`` in [0, 1]."""
        x = self.start(latents).reshape(len(latents), -1, self.side, self.side)
        for block in self.blocks:
            x = block(double(F.leaky_relu(x, 0.2)))
        return torch.sigmoid(self.image(F.leaky_relu(x, 0.2)))


def principal_latents(images: Tensor, dimension: int) -> Tensor:
    """Return the first principal coordinates of the images, scaled into the unit ball ``[n, dimension]``.

    One of GLO's two initialisations. With fewer images than dimensions the rest is zero.
    """
    centred = (images - images.mean(0)).flatten(1)
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    kept = min(dimension, len(images))
    scores = vectors.flip(1)[:, :kept] * square_root(values.flip(0)[:kept].clamp(min=0))
    latents = torch.zeros(len(images), dimension)
    latents[:, :kept] = scores / scores.norm(dim=1).max().clamp(min=1e-12)
    return latents


def find_latents(
    generator: nn.Module, images: Tensor, start: Tensor, steps: int, learning_rate: float
) -> Tensor:
    """Return z_i = argmin MSE(G(z_i), x_i) over the unit ball, searched from `start` ``[n, d]``.

    AdamW; the rate halves after 3/8, 5/8 and 7/8 of the steps. The errors are summed over the images and
    the optimizer works per coordinate, so the latent of one image depends on no other image.
    """
    latents = start.clone().requires_grad_(True)
    optimizer = torch.optim.AdamW([latents], lr=learning_rate, fused=True)
    milestones = [round(steps * share) for share in (3 / 8, 5 / 8, 7 / 8)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.5)
    for _ in range(steps):
        error = (generator(latents) - images).square().flatten(1).mean(1).sum()
        (latents.grad,) = torch.autograd.grad(error, [latents])
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            latents.copy_(project(latents))
    return latents.detach()


def _fit(
    network: ShadowGeneratorNetwork,
    images: Tensor,
    prior: ShadowGenerator,
    generator: torch.Generator,
    checkpointer: Checkpointer,
) -> float:
    """Optimise weights and latents together on `images`; return the mean squared error of the last epoch."""
    latents = principal_latents(images, prior.latent).requires_grad_(True)
    rates = [prior.learning_rate, prior.latent_learning_rate]
    groups = [list(network.parameters()), [latents]]
    optimizer = torch.optim.Adam(
        [{"params": group, "lr": rate} for group, rate in zip(groups, rates, strict=True)],
        fused=True,
    )
    total = prior.epochs * math.ceil(len(images) / prior.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=total)
    epoch_error = 0.0
    parts: Parts = {
        "network": network,
        "latents": latents,
        "optimizer": optimizer,
        "schedule": schedule,
    }
    for _ in checkpointer.steps(prior.epochs, "shadow generator", parts, generator):
        epoch_error = 0.0
        order = torch.randperm(len(images), generator=generator)
        for batch in order.split(prior.batch_size):
            optimizer.zero_grad()
            error = F.mse_loss(network(latents[batch]), images[batch])
            error.backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                latents.copy_(project(latents))
            epoch_error += error.item() * len(batch) / len(images)
    return epoch_error
