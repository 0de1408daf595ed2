"""TIP's noise: mask, deviation, scale and clipping, each against an independent calculation."""

import math

import pytest
import torch

from gradsiege.defenses.tip.noise import (
    clip_gradient,
    high_frequency_mask,
    masked_noise,
    noise_scale,
)
from gradsiege.protocol.local_update import LocalTraining, norm

torch.set_num_threads(1)


@pytest.mark.parametrize(("kernel", "kept"), [(1, 0), (3, 8), (5, 20), (7, 40)])
def test_mask_keeps_the_published_number_of_coefficients(kernel: int, kept: int) -> None:
    mask = high_frequency_mask(kernel, 0.5)
    assert int(mask.sum()) == kept
    assert mask[0, 0] == 0


@pytest.mark.parametrize(
    ("rho", "kept"), [(0.0, 9), (0.3, 8), (0.66, 8), (0.7, 4), (0.93, 4), (0.96, 0)]
)
def test_rho_has_four_possible_outcomes_on_3x3_kernels(rho: float, kept: int) -> None:
    assert int(high_frequency_mask(3, rho).sum()) == kept


def test_on_3x3_kernels_the_noise_is_white_noise_minus_its_mean() -> None:
    shape = torch.Size([4, 6, 3, 3])
    mask = high_frequency_mask(3, 0.5)
    noise = masked_noise(shape, mask, torch.Generator().manual_seed(2))
    white = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(noise, white - white.mean((2, 3), keepdim=True), atol=1e-6, rtol=0)


def test_noise_deviation_is_beta_times_sqrt_eight_ninths() -> None:
    mask = high_frequency_mask(3, 0.5)
    noise = masked_noise(torch.Size([64, 64, 3, 3]), mask, torch.Generator().manual_seed(0))
    assert abs(float(noise.std()) / math.sqrt(8 / 9) - 1) < 0.01


FEDERATION = LocalTraining("fedavg", 500, 32, 2, 0.001, "train")
ATTACK_STUDY = LocalTraining("fedavg", 1, 1, 4, 0.001, "eval")


def test_scale_is_the_published_one_in_both_studies() -> None:
    # 500 images in batches of 32 are 16 local steps per epoch.
    in_federation = noise_scale(FEDERATION, clip=5, epsilon=5, delta=1e-5)
    assert math.isclose(in_federation, 32 * 0.001 * (5 / 32) * 4.844805 / 5, rel_tol=1e-6)
    assert abs(noise_scale(ATTACK_STUDY, clip=5, epsilon=1, delta=1e-5) - 0.0969) < 1e-4


def test_the_published_privacy_was_measured_at_twenty_times_the_noise_of_the_utility() -> None:
    """ResNet-18 has 20 convolutions; of white noise, sqrt(8 / 9) is left on 3x3 kernels."""
    on_a_weight = math.sqrt(8 / 9) / 20
    utility = on_a_weight * noise_scale(FEDERATION, clip=5, epsilon=5, delta=1e-5)
    privacy = on_a_weight * noise_scale(ATTACK_STUDY, clip=5, epsilon=1, delta=1e-5)
    assert abs(utility - 2.28e-4) < 1e-6
    assert abs(privacy - 4.57e-3) < 1e-5
    assert abs(privacy / utility - 20) < 1e-9


def test_the_gradient_of_a_batch_is_clipped_as_a_whole() -> None:
    gradient = {"a": torch.full((4,), 1.0), "b": torch.zeros(2)}
    assert math.isclose(float(norm(clip_gradient(gradient, 0.5))), 0.5, rel_tol=1e-5)
    small = {"a": torch.full((4,), 0.01)}
    assert torch.equal(clip_gradient(small, 0.5)["a"], small["a"])
