"""Two defects of TIP's released attack study (arXiv 2602.11633), as arithmetic on images and decibels.

They make published numbers comparable with measured ones. The registry does not list them, and no score of a study
uses them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradsiege.metrics.fidelity import peak_signal_noise_ratio

Channels = tuple[float, ...]

# The normalisation of CIFAR-10 by the released victim, and the deviation with which the released attacker undoes it.
CIFAR10_MEAN: Channels = (0.4915, 0.4823, 0.4468)
CIFAR10_DEVIATION: Channels = (0.2470, 0.2435, 0.2616)
CIFAR10_ATTACKER: Channels = (0.2023, 0.1994, 0.2010)


def inflation(deviation: Channels) -> float:
    """Return by how many dB a peak of 1/deviation raises the PSNR of images in [0, 1], the mean over channels.

    Only normalised images have this peak. The released study uses it for images in [0, 1].

    >>> round(inflation(CIFAR10_ATTACKER), 2)
    13.94
    """
    return float(-20 * torch.tensor(deviation, dtype=torch.float64).log10().mean())


def inflated_peak_signal_noise_ratio(
    reconstructions: Tensor, truths: Tensor, deviation: Channels
) -> Tensor:
    """Return 10 log10((1 / deviation_c)^2 / MSE), averaged over channels c: the PSNR of the released study.

    Args:
        reconstructions, truths: ``[n, c, h, w]`` in [0, 1].
        deviation: standard deviations of the data set's normalisation, one per channel.

    Returns:
        float64 ``[n]`` in dB: the true PSNR plus `inflation`.
    """
    return peak_signal_noise_ratio(reconstructions, truths) + inflation(deviation)


def undone_with_another_deviation(
    images: Tensor, mean: Channels, victim: Channels, attacker: Channels
) -> Tensor:
    """Return the images of a perfect attack whose deviation for undoing the normalisation is not the victim's.

    x becomes mean + (x - mean) attacker / victim in every channel: on CIFAR-10 the contrast falls to 0.82, in blue to
    0.77.

    Args:
        images: ``[n, c, h, w]`` in [0, 1].
        mean, victim, attacker: mean, victim's deviation and attacker's deviation of the normalisation, one per channel.

    Returns:
        Images ``[n, c, h, w]``, cut to [0, 1].

    >>> image = torch.full((1, 1, 1, 1), 0.9)
    >>> undone_with_another_deviation(image, (0.5,), (0.25,), (0.2,)).item()
    0.8199999928474426
    """
    centre, wide, narrow = (
        torch.tensor(values, dtype=images.dtype)[:, None, None]
        for values in (mean, victim, attacker)
    )
    return (centre + (images - centre) * (narrow / wide)).clamp(0, 1)
