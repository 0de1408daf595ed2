"""Sparsification zeroes the stated number of smallest coordinates of every tensor and keeps the others exactly."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from gradsiege import defenses
from gradsiege.defenses.base import Client
from gradsiege.defenses.magnitudes import below_percentile


@pytest.mark.parametrize("percent", [0, 10, 33.3, 50, 90, 99, 100])
def test_every_tensor_loses_what_is_below_the_percentile(
    bystander: Callable[[int], Client], percent: float
) -> None:
    generator = torch.Generator().manual_seed(2)
    update = {
        "large": 100 * torch.randn(10, 21, generator=generator),
        "small": 1e-3 * torch.randn(11, generator=generator),
        "single": torch.tensor([1e-9]),
    }
    defense = defenses.build("sparsification", {"percent": percent})
    sparse = defense.transform_update(update, bystander(0))
    for name, value in update.items():
        magnitudes = value.abs().numpy()
        # The released rule: zero where the magnitude is less than NumPy's percentile.
        expected = np.where(magnitudes < np.percentile(magnitudes, percent), 0, value.numpy())
        np.testing.assert_array_equal(sparse[name].numpy(), expected)
        assert int((sparse[name] == 0).sum()) == below_percentile(value.numel(), percent)


def test_equal_magnitudes_are_dropped_in_order_and_not_together(
    bystander: Callable[[int], Client],
) -> None:
    update = {"w": torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])}
    sparse = defenses.build("sparsification", {"percent": 50}).transform_update(
        update, bystander(0)
    )
    assert sparse["w"].tolist() == [0, 0, 1, -1, 1]


def test_a_percentage_above_one_hundred_is_refused() -> None:
    with pytest.raises(ValueError, match=r"percent must be a number from 0 to 100, not 101"):
        defenses.build("sparsification", {"percent": 101.0})
