"""TIP: noise in the high frequencies of the convolution channels that Grad-CAM ranks highest (arXiv 2602.11633)."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gradsiege.defenses.base import Client, Defense
from gradsiege.protocol.local_update import LocalTraining, Step, Tensors, norm

VERSION = 1


@dataclass(frozen=True)
class Parameters:
    """Ratio p of channels, mask radius rho, budget (epsilon, delta), and the clipping bound C of a step's gradient."""

    ratio: float = 0.1
    rho: float = 0.5
    epsilon: float = 5.0
    delta: float = 1e-5
    clip: float = 5.0


def noise_scale(parameters: Parameters, training: LocalTraining) -> float:
    """Return beta = E B lr (C / b) q / epsilon with q = sqrt(2 ln(1.25 / delta)), in weight units.

    E epochs of B local steps with batches of b images; E * B is the number of local steps. The
    "sensitivity" holds for clipping per sample; TIP clips the batch mean, so epsilon is a knob, not a guarantee.

    >>> one_step = LocalTraining("fedsgd", 1, 1, 1, 0.001, "eval")
    >>> round(noise_scale(Parameters(epsilon=1.0), one_step), 6)
    0.024224
    """
    quantile = math.sqrt(2 * math.log(1.25 / parameters.delta))
    per_step = training.learning_rate * parameters.clip / training.batch_size
    return training.steps * per_step * quantile / parameters.epsilon


def high_frequency_mask(kernel: int, rho: float) -> Tensor:
    """Return M(u, v) = [distance to the zero frequency >= rho k / 2] on the unshifted k x k spectrum.

    On 3x3 kernels and rho = 0.5 it keeps everything but the zero frequency; on 1x1 kernels nothing.

    >>> high_frequency_mask(3, 0.5).sum().item(), high_frequency_mask(1, 0.5).sum().item()
    (8.0, 0.0)
    """
    frequency = torch.arange(kernel, dtype=torch.float64) - kernel // 2
    distance = (frequency[:, None].square() + frequency[None, :].square()).sqrt()
    mask: Tensor = torch.fft.ifftshift((distance >= rho * kernel / 2).float())
    return mask


def high_frequency_noise(shape: torch.Size, rho: float, generator: torch.Generator) -> Tensor:
    """Return white noise of a weight's shape ``[..., k, k]`` without its low spatial frequencies."""
    noise = torch.randn(shape, generator=generator)
    mask = high_frequency_mask(shape[-1], rho)
    filtered: Tensor = torch.fft.ifft2(torch.fft.fft2(noise) * mask).real
    return filtered


def convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    """Return every convolution of the model by name, in order."""
    return {name: part for name, part in model.named_modules() if isinstance(part, nn.Conv2d)}


def channel_coefficients(model: nn.Module, image: Tensor, label: int) -> dict[str, Tensor]:
    """Return Grad-CAM's alpha_c = mean over positions of d s_y / d A_c for every convolution.

    s_y is the logit of the true label and A the output of the convolution (Selvaraju et al., ICCV 2017, equation 1).
    The coefficients are those of `pytorch_grad_cam`: its hooks record A's gradient and ``get_cam_weights``
    averages it. The library's own call goes on to scale every map to 0..1 and to upsample it, which
    loses the magnitudes and costs twenty resizes, so only its first half is used. The ranking runs in eval
    mode on a copy: the library overwrites gradients and mode.

    Args:
        model: network with the client's weights.
        image: ``[c, h, w]`` in [0, 1].
        label: index of the true class.
    """
    from pytorch_grad_cam import GradCAM

    network = copy.deepcopy(model)
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    layers = convolutions(network)
    with GradCAM(model=network, target_layers=list(layers.values())) as cam:
        logits = cam.activations_and_grads(image[None])
        logits[0, label].backward()
        recorded = cam.activations_and_grads
        return {
            name: torch.from_numpy(cam.get_cam_weights(None, None, None, None, found.numpy()))[0]
            for name, found in zip(layers, recorded.gradients, strict=True)
        }


def top_channels(alpha: Tensor, ratio: float) -> Tensor:
    """Return the indices of the k = max(1, floor(p C)) largest signed coefficients.

    >>> top_channels(torch.tensor([0.1, -0.9, 0.5, 0.3]), 0.5).tolist()
    [2, 3]
    """
    count = max(1, math.floor(ratio * len(alpha) + 1e-9))
    return alpha.topk(count).indices


def one_image_per_class(labels: Tensor) -> list[int]:
    """Return the index of the first image of every class present, in class order."""
    return [int((labels == value).nonzero()[0]) for value in sorted(set(labels.tolist()))]


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
        factor = (self.parameters.clip / (norm(gradient) + 1e-6)).clamp(max=1)
        return {name: value * factor for name, value in gradient.items()}

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Add the noise to the weights; in the unit of the update that is minus noise / learning rate."""
        model = copy.deepcopy(client.model)
        state = {**client.local_parameters(update), **client.buffers}
        model.load_state_dict(state)
        samples = one_image_per_class(client.labels)
        scale = noise_scale(self.parameters, client.training)
        scale /= len(convolutions(model)) * len(samples) * client.training.learning_rate
        defended = dict(update)
        for index in samples:
            label = int(client.labels[index])
            alphas = channel_coefficients(model, client.images[index], label)
            for layer, alpha in alphas.items():
                name = f"{layer}.weight"
                chosen = top_channels(alpha, self.parameters.ratio)
                shape = torch.Size([len(chosen), *update[name].shape[1:]])
                noise = high_frequency_noise(shape, self.parameters.rho, client.generator)
                defended[name] = defended[name].index_add(0, chosen, noise, alpha=-scale)
        return defended

    def disclosure(self) -> dict[str, Any]:
        """Everything but the drawn noise and the chosen channels is public."""
        return {"defense": self.name, **asdict(self.parameters)}


def build(parameters: Parameters, arm: str) -> Defense:
    """Return the defense."""
    return Tip(parameters)
