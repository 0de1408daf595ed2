"""TIP: noise in the high frequencies of the convolution channels that Grad-CAM ranks highest (arXiv 2602.11633)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from gradsiege.defenses.base import Arm, Client, Defense
from gradsiege.defenses.grad_cam import channel_coefficients, trained_convolutions
from gradsiege.defenses.tip.energy import factors, square_kernels
from gradsiege.defenses.tip.noise import clip_gradient, masked_noise, noise_scale, spectrum_mask
from gradsiege.defenses.tip.ranking import (
    buffers_after_passes,
    one_image_per_class,
    select_channels,
    trained_model,
)
from gradsiege.protocol.local_update import Step, Tensors
from gradsiege.protocol.observation import group
from gradsiege.ranges import Epsilon, PositiveSize, Probability, Share, Spread

VERSION = 1
ARMS = ("faithful", "as_released")
SUM = "accumulated."


@dataclass(frozen=True)
class Tip(Defense):
    """Noise on the weights of the ranked channels, once per round, after local training.

    The weights become W + beta_l * highpass(n) on the selected channels, one independent draw per ranking
    sample, beta_l = beta / L / samples over L convolutions. Biases, batch norm, head, 1x1 kernels and
    the zero frequency of every kernel stay clean.

    The faithful arm ranks in eval mode with one image per class present, and draws fresh noise each round.

    As released adds what the client of the earlier public version does otherwise, one switch each. Its data
    are stored class by class and its sampler stops after one image, hence the lowest class.

    Three defects of that code cannot be switches of a client. (1) Utility was measured at epsilon 5 and privacy at
    epsilon 1, which with batches of 32 and of 1 makes twenty times the noise. A defense here has one noise in both
    studies, so the published pair is two settings, each measured in full: a sweep of `epsilon` over 1 and 5.
    (2) The attack took its gradients at the defended weights instead of theta_t. (3) It undid another normalisation
    than the victim's and scored with another peak than 1: see `gradsiege.metrics.as_released`.

    The defaults are the published constants.

    Attributes:
        arm: sets the last four, which are defects of the release, where they are None.
        ratio: share p of the channels of every convolution that are noised.
        rho: radius of the frequency mask as a share of half the kernel.
        epsilon, delta: privacy budget in name; they set the noise but guarantee nothing (see `tip_noise.noise_scale`).
        clip: bound C on the norm of a step's mean gradient.
        selection: which channels are noised; all but ``top`` are controls (see `select_channels`).
        spectrum: which frequencies of a kernel are noised; all but ``high`` are controls (see `spectrum_mask`).
        match_energy: give a control the expected noise energy of the paper's choice, layer by layer.
        noise_norm: root mean square l2 norm of the whole noise, in weight units, instead of what epsilon gives.
        train_mode_ranking: rank in train mode on one image, where every coefficient is round-off.
        first_sample_only: rank with one image, of the lowest class, instead of one of each class.
        gradients_accumulated: never zero the gradients: every step follows the clipped sum of all so far.
        ranking_writes_buffers: upload the batch-norm buffers that a train-mode ranking leaves behind.
    """

    name = "tip"
    switches = (
        "train_mode_ranking",
        "first_sample_only",
        "gradients_accumulated",
        "ranking_writes_buffers",
    )

    ratio: Share = 0.1
    rho: Share = 0.5
    epsilon: Epsilon = 5.0
    delta: Probability = 1e-5
    clip: PositiveSize = 5.0
    selection: Literal["top", "random", "lowest", "all"] = "top"
    spectrum: Literal["high", "white", "dc"] = "high"
    match_energy: bool = False
    noise_norm: Spread | None = None
    train_mode_ranking: bool | None = None
    first_sample_only: bool | None = None
    gradients_accumulated: bool | None = None
    ranking_writes_buffers: bool | None = None
    arm: Arm = "faithful"

    def transform_gradient(self, gradient: Tensors, step: Step, client: Client) -> Tensors:
        """Clip the gradient of a local step; as released, the sum of it and the step before.

        Takes and returns tensors by name, each of the shape of its parameter.
        """
        if not self.gradients_accumulated:
            return clip_gradient(gradient, self.clip)
        before = group(client.state, SUM)
        total = {name: value + before.get(name, 0) for name, value in gradient.items()}
        clipped = clip_gradient(total, self.clip)
        client.state.update({SUM + name: value for name, value in clipped.items()})
        return clipped

    def transform_buffers(self, buffers: Tensors, update: Tensors, client: Client) -> Tensors:
        """Return the buffers unchanged; as released, update the running statistics with the ranking images.

        Takes and returns buffers by name, each in its shape.
        """
        if not self.ranking_writes_buffers:
            return buffers
        images = client.images[self._samples(client)]
        return buffers_after_passes(trained_model(client, update), images)

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Add the noise to the weights; in the unit of the update that is minus noise / learning rate.

        Takes and returns tensors by name, each of the shape of its parameter.
        """
        p, rate = self, client.training.learning_rate
        model, samples = trained_model(client, update), self._samples(client)
        shapes = square_kernels(trained_convolutions(model, update, p.name))
        scale = noise_scale(client.training, p.clip, p.epsilon, p.delta)
        scale /= len(shapes) * len(samples) * rate
        factor = factors(shapes, p, scale * rate, len(samples))
        defended = dict(update)
        for index in samples:
            image, label = client.images[index], int(client.labels[index])
            alphas = channel_coefficients(model, image, label, bool(p.train_mode_ranking))
            for layer in shapes:
                name = f"{layer}.weight"
                chosen = select_channels(alphas[layer], p.ratio, p.selection, client.generator)
                mask = spectrum_mask(shapes[layer][-1], p.rho, p.spectrum)
                shape = torch.Size([len(chosen), *shapes[layer][1:]])
                noise = masked_noise(shape, mask, client.generator) * factor[layer]
                defended[name] = defended[name].index_add(
                    0, chosen, noise.to(update[name]), alpha=-scale
                )
        for name in update:
            # The sum of gradients starts anew in each round.
            client.state.pop(SUM + name, None)
        return defended

    def _samples(self, client: Client) -> list[int]:
        """Return the indices of the images that rank the channels."""
        indices = one_image_per_class(client.labels)
        return indices[:1] if self.first_sample_only else indices
