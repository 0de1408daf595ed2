"""The released attack study's inflated PSNR and wrong normalisation, against the figures measured on its code."""

import math

import pytest
import torch

from gradsiege.metrics.as_released import (
    CIFAR10_ATTACKER,
    CIFAR10_DEVIATION,
    CIFAR10_MEAN,
    inflated_peak_signal_noise_ratio,
    inflation,
    undone_with_another_deviation,
)
from gradsiege.metrics.fidelity import peak_signal_noise_ratio

CIFAR100 = (0.2673, 0.2564, 0.2762)
TINY_IMAGENET = (0.2770, 0.2691, 0.2821)


@pytest.mark.parametrize(
    ("deviation", "decibels"), [(CIFAR10_ATTACKER, 13.9), (CIFAR100, 11.5), (TINY_IMAGENET, 11.2)]
)
def test_the_peak_raises_every_psnr_by_the_measured_amount(
    deviation: tuple[float, ...], decibels: float
) -> None:
    truths, found = torch.rand(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    raised = inflated_peak_signal_noise_ratio(found, truths, deviation)
    gain = raised - peak_signal_noise_ratio(found, truths)
    assert torch.allclose(gain, torch.full_like(gain, decibels), atol=0.06)
    # From the definition: the mean over channels of 10 log10(peak^2 / MSE).
    error = (found - truths).double().square().mean((1, 2, 3))
    expected = [sum(10 * math.log10(1 / (s * s * mse)) for s in deviation) / 3 for mse in error]
    assert torch.allclose(raised, torch.tensor(expected, dtype=torch.float64))


def test_without_normalisation_nothing_is_inflated() -> None:
    assert inflation((1.0, 1.0, 1.0)) == 0.0


def test_a_perfect_attack_is_capped_at_26_decibels_on_typical_cifar10_images() -> None:
    """An image with the data set's own mean and deviation loses (s_victim - s_attacker)^2 per channel."""
    side = torch.tensor([-1.0, 1.0], dtype=torch.float64).repeat(1, 1, 16, 8)
    mean = torch.tensor(CIFAR10_MEAN, dtype=torch.float64)[:, None, None]
    deviation = torch.tensor(CIFAR10_DEVIATION, dtype=torch.float64)[:, None, None]
    truths = mean + side * deviation
    returned = undone_with_another_deviation(
        truths, CIFAR10_MEAN, CIFAR10_DEVIATION, CIFAR10_ATTACKER
    )
    error = [(v - a) ** 2 for v, a in zip(CIFAR10_DEVIATION, CIFAR10_ATTACKER, strict=True)]
    expected = -10 * math.log10(sum(error) / 3)
    assert abs(float(peak_signal_noise_ratio(returned, truths)) - expected) < 0.01
    assert abs(expected - 26) < 0.1
    contrast = returned.std((0, 2, 3)) / truths.std((0, 2, 3))
    assert [round(float(value), 2) for value in contrast] == [0.82, 0.82, 0.77]


def test_the_right_deviation_returns_the_image() -> None:
    truths = torch.rand(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    same = undone_with_another_deviation(truths, CIFAR10_MEAN, CIFAR10_DEVIATION, CIFAR10_DEVIATION)
    assert torch.allclose(same, truths)
