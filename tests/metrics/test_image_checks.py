"""Wrong ranges, types and shapes are refused by name, with the way out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gradsiege.metrics.assignment import assign
from gradsiege.metrics.identification import retrieval_rank
from gradsiege.metrics.registry import METRICS

NAMES = list(METRICS)


@pytest.mark.parametrize("name", NAMES)
def test_images_in_minus_one_to_one_are_refused(name: str, small: Tensor) -> None:
    signed = torch.stack([torch.full((3, 32, 32), -1.0), torch.ones(3, 32, 32)]).double()
    with pytest.raises(ValueError, match=r"reconstructions: values lie in \[-1, 1\].*std"):
        METRICS[name].load()(signed, small[:2])


@pytest.mark.parametrize("name", NAMES)
def test_eight_bit_values_in_floats_are_refused(name: str, small: Tensor) -> None:
    scaled = small / small.max() * 255
    with pytest.raises(ValueError, match=r"truths: values lie in \[.*, 255\].*divide .* by 255"):
        METRICS[name].load()(small, scaled)


@pytest.mark.parametrize("name", NAMES)
def test_uint8_is_refused_with_a_hint(name: str) -> None:
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(TypeError, match=r"torch\.uint8.*images\.float\(\) / 255"):
        METRICS[name].load()(images, images)


def test_half_precision_is_refused_with_its_own_hint() -> None:
    images = torch.zeros(1, 3, 8, 8, dtype=torch.float16)
    with pytest.raises(TypeError, match=r"torch\.float16.*pass images\.float\(\)$"):
        METRICS["mse"].load()(images, images)


def test_a_rounding_error_is_refused_with_the_advice_to_clamp(small: Tensor) -> None:
    with pytest.raises(ValueError, match=r"clamp\(0, 1\) the rounding error"):
        METRICS["mse"].load()(small / small.max() + 1e-6, small)


@pytest.mark.parametrize(
    "shape", [(3, 32, 32), (2, 4, 32, 32), (2, 32, 32, 3), (0, 3, 32, 32), (1, 1, 1, 3, 8, 8)]
)
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    images = torch.zeros(shape)
    with pytest.raises(ValueError, match=r"non-empty \[n, C, H, W\]"):
        METRICS["psnr"].load()(images, images)


def test_an_array_is_refused(small: Tensor) -> None:
    with pytest.raises(TypeError, match="expected a torch tensor, got ndarray"):
        METRICS["psnr"].load()(small.numpy(), small)


def test_batches_that_do_not_match_are_refused(small: Tensor) -> None:
    with pytest.raises(ValueError, match="same shape"):
        METRICS["mse"].load()(small[:2], small)
    with pytest.raises(ValueError, match="same dtype"):
        METRICS["mse"].load()(small.float(), small)


def test_truths_must_be_finite(small: Tensor) -> None:
    broken = small.clone()
    broken[2, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"truths: NaN or infinity in images \[2\]"):
        METRICS["mse"].load()(small, broken)


def test_a_diverged_reconstruction_does_not_hide_a_wrong_range(small: Tensor) -> None:
    signed = small * 2 - 1
    signed[0] = torch.inf
    with pytest.raises(ValueError, match="reconstructions: values lie in"):
        METRICS["mse"].load()(signed, small)


def test_assignment_and_retrieval_check_their_images_too(small: Tensor) -> None:
    with pytest.raises(ValueError, match="reconstructions: values lie in"):
        assign(small * 2 - 1, small)
    with pytest.raises(ValueError, match="gallery: values lie in"):
        retrieval_rank(small, torch.arange(4), small * 2 - 1)
