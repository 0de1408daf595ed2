"""TIP's noise: its scale, its mask in the frequency domain, and the clipping that the scale refers to."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gradsiege.arithmetic import square_root
from gradsiege.errors import StudyError
from gradsiege.protocol.local_update import LocalTraining, Tensors, norm


def clip_gradient(gradient: Tensors, bound: float) -> Tensors:
    """Return g min(1, C / (|g| + 1e-6)): the mean gradient of a batch is clipped, not that of each image.

    Takes and returns tensors by name, each of the shape of its parameter.
    """
    factor = (bound / (norm(gradient) + 1e-6)).clamp(max=1)
    return {name: value * factor for name, value in gradient.items()}


def noise_scale(training: LocalTraining, clip: float, epsilon: float, delta: float) -> float:
    """Return beta = E B lr (C / b) q / epsilon with q = sqrt(2 ln(1.25 / delta)), in weight units.

    E epochs of B local steps with batches of b images; E * B is the number of local steps. The
    "sensitivity" holds for clipping per sample; TIP clips the batch mean, so epsilon guarantees nothing.

    >>> one_step = LocalTraining("fedsgd", 1, 1, 1, 0.001, "eval")
    >>> round(noise_scale(one_step, clip=5.0, epsilon=1.0, delta=1e-5), 6)
    0.024224
    """
    quantile = math.sqrt(2 * math.log(1.25 / delta))
    per_step = training.learning_rate * clip / training.batch_size
    return training.steps * per_step * quantile / epsilon


def factor_for_norm(wanted: float, energy: float, defense: str) -> float:
    """Return the factor that brings noise of expected squared l2 norm `energy` to the root mean square norm `wanted`.

    >>> factor_for_norm(3.0, 4.0, "tip")
    1.5
    """
    if not energy > 0:
        raise StudyError(
            f"{defense}: noise_norm {wanted} cannot be met, no weight of this model is noised. "
            "Leave noise_norm out, or choose a model with convolutions wider than 1x1."
        )
    return wanted / math.sqrt(energy)


def high_frequency_mask(kernel: int, rho: float) -> Tensor:
    """Return M(u, v) = [distance to the zero frequency >= rho k / 2] on the unshifted k x k spectrum.

    On 3x3 kernels and rho = 0.5 it keeps everything but the zero frequency; on 1x1 kernels nothing.

    >>> high_frequency_mask(3, 0.5).sum().item(), high_frequency_mask(1, 0.5).sum().item()
    (8.0, 0.0)
    """
    frequency = torch.arange(kernel, dtype=torch.float64) - kernel // 2
    distance = square_root(frequency[:, None].square() + frequency[None, :].square())
    mask: Tensor = torch.fft.ifftshift((distance >= rho * kernel / 2).float())
    return mask


def spectrum_mask(kernel: int, rho: float, spectrum: str) -> Tensor:
    """Return the mask of the paper (``high``), or of a control: all frequencies (``white``), the zero frequency (``dc``).

    A kernel in which the paper's mask keeps nothing, such as 1x1, stays clean under every spectrum: a control differs
    from the paper in the spectrum alone, not in the weights that it noises.

    >>> [spectrum_mask(3, 0.5, name).sum().item() for name in ("high", "white", "dc")]
    [8.0, 9.0, 1.0]
    """
    high = high_frequency_mask(kernel, rho)
    if spectrum == "high" or not high.any():
        return high
    if spectrum == "white":
        return torch.ones_like(high)
    zero_frequency = torch.zeros_like(high)
    zero_frequency[0, 0] = 1
    return zero_frequency


def masked_noise(shape: torch.Size, mask: Tensor, generator: torch.Generator) -> Tensor:
    """Return white noise of a weight's shape ``[..., k, k]``, reduced to the frequencies of a mask ``[k, k]``."""
    noise = torch.randn(shape, generator=generator, dtype=torch.float32)
    filtered: Tensor = torch.fft.ifft2(torch.fft.fft2(noise) * mask).real
    return filtered
