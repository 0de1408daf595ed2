"""Laplace noise has the moments of its law."""

import math
from collections.abc import Callable

import torch

from gradsiege import defenses
from gradsiege.defenses.base import Client


def test_noise_has_the_stated_moments(bystander: Callable[[int], Client]) -> None:
    count, scale = 200_000, 0.3
    update = {"w": torch.full((count,), 2.0)}
    defense = defenses.build("laplace", {"scale": scale})
    noise = (defense.transform_update(update, bystander(0))["w"] - 2).double() / scale
    # E|x| = 1, E x^2 = 2, E x^4 = 24, E x^8 = 8! give the variances of the estimates.
    assert abs(noise.mean()) < 4 * math.sqrt(2 / count)
    assert abs(noise.abs().mean() - 1) < 4 * math.sqrt(1 / count)
    assert abs(noise.square().mean() - 2) < 4 * math.sqrt((24 - 4) / count)
    assert abs(noise.pow(4).mean() - 24) < 4 * math.sqrt((math.factorial(8) - 24**2) / count)


def test_noise_follows_the_laplace_distribution(bystander: Callable[[int], Client]) -> None:
    from scipy import stats

    defense = defenses.build("laplace", {"scale": 2.0})
    noise = defense.transform_update({"w": torch.zeros(20_000)}, bystander(3))["w"]
    assert stats.kstest(noise.numpy(), stats.laplace(scale=2.0).cdf).pvalue > 0.01
    assert stats.kstest(noise.numpy(), stats.norm(scale=2.0 * math.sqrt(2)).cdf).pvalue < 1e-6
