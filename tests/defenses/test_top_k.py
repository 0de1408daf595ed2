"""Top-k keeps the largest coordinates of the whole update, exactly as many as stated."""

from collections.abc import Callable

import pytest
import torch

from gradsiege import defenses
from gradsiege.defenses.base import Client


@pytest.mark.parametrize(("fraction", "expected"), [(0.1, 25), (0.5, 126), (1e-6, 1), (1.0, 251)])
def test_the_largest_coordinates_of_all_tensors_are_kept(
    bystander: Callable[[int], Client], fraction: float, expected: int
) -> None:
    generator = torch.Generator().manual_seed(2)
    update = {
        "a": torch.randn(10, 20, generator=generator),
        "b": 3 * torch.randn(51, generator=generator),
    }
    defense = defenses.build("top_k", {"fraction": fraction})
    sparse = defense.transform_update(update, bystander(0))
    before = torch.cat([value.flatten() for value in update.values()])
    after = torch.cat([value.flatten() for value in sparse.values()])
    chosen = after != 0
    assert int(chosen.sum()) == expected
    assert torch.equal(after[chosen], before[chosen])
    if expected < len(before):
        assert before[chosen].abs().min() > before[~chosen].abs().max()


def test_the_ranking_is_global(bystander: Callable[[int], Client]) -> None:
    update = {"tiny": torch.full((4,), 1e-3), "large": torch.tensor([1.0, -2.0, 3.0, 4.0])}
    sparse = defenses.build("top_k", {"fraction": 0.5}).transform_update(update, bystander(0))
    assert not sparse["tiny"].any()
    assert torch.equal(sparse["large"], update["large"])


def test_a_fraction_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"fraction must be a number above 0 and at most 1, not 0"):
        defenses.build("top_k", {"fraction": 0.0})
