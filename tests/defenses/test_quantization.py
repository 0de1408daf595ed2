"""QSGD is unbiased, stays on its grid, and keeps within the published error."""

import math
from collections.abc import Callable

import pytest
import torch

from gradsiege import defenses
from gradsiege.defenses.base import Client
from gradsiege.defenses.quantization import quantize

VALUE = torch.randn(40, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


@pytest.mark.parametrize("levels", [1, 2, 5, 16])
def test_every_coordinate_is_one_of_its_two_neighbours_on_the_grid(levels: int) -> None:
    quantized = quantize(VALUE, levels, torch.Generator().manual_seed(0))
    grid = VALUE.norm() / levels
    steps = quantized / grid
    torch.testing.assert_close(steps, steps.round(), atol=1e-9, rtol=0)
    assert ((quantized - VALUE).abs() <= grid).all()
    assert (quantized * VALUE >= 0).all()
    assert steps.abs().max() <= levels


@pytest.mark.parametrize("levels", [1, 4])
def test_rounding_is_unbiased_with_the_variance_of_a_coin(levels: int) -> None:
    draws = 4000
    generator = torch.Generator().manual_seed(1)
    found = torch.stack([quantize(VALUE, levels, generator) for _ in range(draws)])
    place = VALUE.abs() / VALUE.norm() * levels
    share = place - place.floor()
    deviation = VALUE.norm() / levels * (share * (1 - share)).sqrt()
    assert ((found.mean(0) - VALUE).abs() < 5 * deviation / math.sqrt(draws)).all()
    torch.testing.assert_close(found.std(0), deviation, rtol=0.2, atol=1e-9)
    error = (found - VALUE).square().sum(1).mean()
    bound = min(len(VALUE) / levels**2, math.sqrt(len(VALUE)) / levels) * VALUE.norm().square()
    assert error <= bound


def test_tensors_are_scaled_apart_and_zeros_stay_zeros(
    bystander: Callable[[int], Client],
) -> None:
    update = {"a": VALUE, "b": 1e-6 * VALUE, "none": torch.zeros(3)}
    quantized = defenses.build("quantization", {"levels": 4}).transform_update(update, bystander(0))
    assert torch.equal(quantized["none"], torch.zeros(3))
    for name in ("a", "b"):
        steps = quantized[name] * 4 / update[name].norm()
        torch.testing.assert_close(steps, steps.round(), atol=1e-9, rtol=0)
        assert steps.abs().max() >= 1


def test_a_grid_without_levels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"levels must be a whole number from 1 to .*, not 0"):
        defenses.build("quantization", {"levels": 0})
