"""TIP: noise in the high frequencies of the convolution channels that Grad-CAM ranks highest (arXiv 2602.11633)."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any

import torch

from gradsiege.defenses.base import Client, Defense
from gradsiege.defenses.tip_noise import (
    clip_gradient,
    high_frequency_mask,
    masked_noise,
    noise_scale,
)
from gradsiege.defenses.tip_ranking import (
    channel_coefficients,
    convolutions,
    one_image_per_class,
    top_channels,
)
from gradsiege.protocol.local_update import Step, Tensors

VERSION = 1


@dataclass(frozen=True)
class Parameters:
    """Ratio p of channels, mask radius rho, budget (epsilon, delta), and the clipping bound C of a step's gradient."""

    ratio: float = 0.1
    rho: float = 0.5
    epsilon: float = 5.0
    delta: float = 1e-5
    clip: float = 5.0


class Tip(Defense):
    """The faithful arm: one image per class present, eval-mode ranking, all convolutions, fresh noise each round.

    After local training the weights become W + beta_l * highpass(n) on the selected channels, one
    independent draw per ranking sample, beta_l = beta / L / samples over L convolutions. Biases, batch
    norm, head, 1x1 kernels and the zero frequency of every kernel stay clean.
    """

    name = "tip"

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def transform_gradient(self, gradient: Tensors, step: Step, client: Client) -> Tensors:
        """Clip the gradient of a local step: g min(1, C / (|g| + 1e-6))."""
        return clip_gradient(gradient, self.parameters.clip)

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Add the noise to the weights; in the unit of the update that is minus noise / learning rate."""
        model = copy.deepcopy(client.model)
        state = {**client.local_parameters(update), **client.buffers}
        model.load_state_dict(state)
        samples = one_image_per_class(client.labels)
        p = self.parameters
        scale = noise_scale(client.training, p.clip, p.epsilon, p.delta)
        scale /= len(convolutions(model)) * len(samples) * client.training.learning_rate
        defended = dict(update)
        for index in samples:
            label = int(client.labels[index])
            alphas = channel_coefficients(model, client.images[index], label)
            for layer, alpha in alphas.items():
                name = f"{layer}.weight"
                chosen = top_channels(alpha, p.ratio)
                shape = torch.Size([len(chosen), *update[name].shape[1:]])
                mask = high_frequency_mask(shape[-1], p.rho)
                noise = masked_noise(shape, mask, client.generator)
                defended[name] = defended[name].index_add(0, chosen, noise, alpha=-scale)
        return defended

    def disclosure(self) -> dict[str, Any]:
        """Everything but the drawn noise and the chosen channels is public."""
        return {"defense": self.name, **asdict(self.parameters)}


def build(parameters: Parameters, arm: str) -> Defense:
    """Return the defense."""
    return Tip(parameters)
