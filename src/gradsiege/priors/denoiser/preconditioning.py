"""The equations of EDM (Karras et al., NeurIPS 2022, arXiv 2206.00364): preconditioning, training loss, noise levels.

Images are scaled to [-1, 1]. A noisy one is x = y + sigma n with n ~ N(0, I), and a denoiser D(x; sigma) estimates E[y | x].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# The least noise that a network is told of; below it the network's share of D is under a hundredth of that noise.
LEAST_NOISE = 2e-3
# ln(sigma) ~ N(MEAN, DEVIATION^2) in training (table 1).
LOG_NOISE_MEAN, LOG_NOISE_DEVIATION = -1.2, 1.2


@dataclass(frozen=True)
class Preconditioning:
    """The four numbers of equation 7 for each image, each ``[n]``."""

    skip: Tensor
    out: Tensor
    inner: Tensor
    noise: Tensor


def preconditioning(sigma: Tensor, spread: Tensor) -> Preconditioning:
    """Return c_skip, c_out, c_in and c_noise of table 1.

    ``D(x; sigma) = c_skip x + c_out F(c_in x; c_noise)`` (equation 7). Input and target of F have variance 1 if the images have
    the deviation `spread`. Without noise, c_skip is 1 and c_out is 0: D is the identity.

    Args:
        sigma: deviations of the noise ``[n]``, in units of images in [-1, 1].
        spread: deviation of the images about 0, a scalar.

    >>> numbers = preconditioning(torch.tensor([0.0, 0.5]), torch.tensor(0.5))
    >>> numbers.skip.tolist(), [round(value, 4) for value in numbers.out.tolist()]
    ([1.0, 0.5], [0.0, 0.3536])
    """
    both = sigma.square() + spread.square()
    return Preconditioning(
        skip=spread.square() / both,
        out=sigma * spread * both.rsqrt(),
        inner=both.rsqrt(),
        noise=sigma.clamp_min(LEAST_NOISE).log() / 4,
    )


def weighted_loss(denoised: Tensor, images: Tensor, sigma: Tensor, spread: Tensor) -> Tensor:
    """Return each image's ``lambda(sigma) |D - y|^2`` per pixel, ``[n]``, lambda = 1 / c_out^2 (equations 2 and 8, table 1).

    With this weight the mean over images of the deviation `spread` about 0 is 1 for F = 0, at every level of noise.

    Args:
        denoised, images: D(x; sigma) and y, ``[n, c, h, w]`` in [-1, 1].
        sigma, spread: as in `preconditioning`; sigma above 0.

    >>> ones = torch.ones(1, 1, 2, 2)
    >>> weighted_loss(0.5 * ones, ones, torch.tensor([1.0]), torch.tensor(1.0))
    tensor([0.5000])
    """
    weight = (sigma.square() + spread.square()) / (sigma * spread).square()
    return weight * (denoised - images).square().flatten(1).mean(1)


def training_noise(count: int, generator: torch.Generator) -> Tensor:
    """Draw the deviations of noise ``[count]`` for training, ln(sigma) ~ N(-1.2, 1.2^2) (table 1)."""
    drawn = torch.randn(count, generator=generator)
    return (LOG_NOISE_MEAN + LOG_NOISE_DEVIATION * drawn).exp().clamp_min(LEAST_NOISE)


def to_signed(images: Tensor) -> Tensor:
    """Scale images from [0, 1] to [-1, 1].

    >>> to_signed(torch.tensor([0.0, 0.5, 1.0]))
    tensor([-1.,  0.,  1.])
    """
    return 2 * images - 1


def to_unit(signed: Tensor) -> Tensor:
    """Undo `to_signed`.

    signed: of any shape.

    >>> to_unit(torch.tensor([-1.0, 0.0, 1.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    return (signed + 1) / 2
