"""The class-conditional Gaussian: its moments are those of the images, its factor is their covariance's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gradsiege.errors import StudyError
from gradsiege.priors.class_conditional_gaussian import (
    ClassConditionalGaussian,
    nats,
    shrunk_covariance,
)


def planted(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of two pixels, of two classes with the means (0.3, 0.5) and (0.7, 0.5), deviations 0.1 and 0.02, correlated."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    white = torch.randn(count, 2, generator=generator)
    mixed = white @ torch.tensor([[0.1, 0.01], [0.0, 0.02]])
    centres = torch.tensor([[0.3, 0.5], [0.7, 0.5]])
    return (centres[labels] + mixed).clamp(0, 1).view(count, 1, 1, 2), labels


def test_it_finds_the_moments_that_were_planted() -> None:
    images, labels = planted(20_000)
    trained = ClassConditionalGaussian(shrinkage=1e-6).fit(images, labels)
    means, factor = ClassConditionalGaussian.load(trained.weights)
    torch.testing.assert_close(
        means.flatten(1), torch.tensor([[0.3, 0.5], [0.7, 0.5]]), rtol=0, atol=0.005
    )
    expected = torch.tensor([[0.01, 0.001], [0.001, 0.0005]])
    torch.testing.assert_close(factor @ factor.T, expected, rtol=0.05, atol=2e-5)
    assert torch.equal(factor, factor.tril())
    # Entropy of the planted Gaussian per coordinate, in nats.
    entropy = 0.5 * math.log(2 * math.pi * math.e) + math.log(float(expected.det())) / 4
    assert abs(trained.card["held_out_nats"] - entropy) < 0.03


def test_the_covariance_is_that_of_numpy() -> None:
    rows = torch.randn(30, 4, generator=torch.Generator().manual_seed(1)).double()
    rows = rows - rows.mean(0)
    plain = np.cov(rows.numpy(), rowvar=False)
    expected = 0.9 * plain + 0.1 * np.trace(plain) / 4 * np.eye(4)
    np.testing.assert_allclose(shrunk_covariance(rows, 1, 0.1).numpy(), expected, rtol=1e-12)


def test_fewer_images_than_pixels_still_have_a_factor() -> None:
    images = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    trained = ClassConditionalGaussian().fit(images, torch.arange(12) % 3)
    factor = trained.weights["factor"]
    assert factor.isfinite().all()
    assert (factor.diagonal() > 0).all()


def test_nats_are_those_of_torch() -> None:
    factor = torch.tensor([[2.0, 0.0], [1.0, 0.5]]).double()
    rows = torch.randn(5, 2, generator=torch.Generator().manual_seed(0)).double()
    law = torch.distributions.MultivariateNormal(torch.zeros(2).double(), scale_tril=factor)
    torch.testing.assert_close(nats(rows, factor), -law.log_prob(rows).mean() / 2)


def test_images_without_any_spread_are_refused() -> None:
    with pytest.raises(StudyError, match="no auxiliary image differs"):
        ClassConditionalGaussian().fit(torch.full((8, 1, 4, 4), 0.5), torch.arange(8) % 2)
