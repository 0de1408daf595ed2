"""Deletion and insertion on planted classifiers whose right explanation is known."""

import pytest
import torch
from torch import Tensor

from gradsiege.metrics.deletion_insertion import area_under, blurred, replacement_curve

SIDE = 8


def planted(images: Tensor) -> Tensor:
    """A classifier that sees the upper left quarter alone: its mean brightness."""
    return images[:, :, : SIDE // 2, : SIDE // 2].mean((1, 2, 3))


def saliency(right: bool) -> Tensor:
    found = torch.zeros(SIDE, SIDE)
    found[: SIDE // 2, : SIDE // 2] = 1
    return found if right else 1 - found


WHITE, BLACK = torch.ones(3, SIDE, SIDE), torch.zeros(3, SIDE, SIDE)


@pytest.mark.parametrize(
    ("right", "deletion", "insertion"), [(True, 0.125, 0.875), (False, 0.875, 0.125)]
)
def test_the_right_map_is_told_from_its_opposite(
    right: bool, deletion: float, insertion: float
) -> None:
    """A quarter of the pixels matter: the probability falls to zero in the first quarter, or in the last."""
    removed = replacement_curve(planted, WHITE, BLACK, saliency(right), 16)
    brought = replacement_curve(planted, BLACK, WHITE, saliency(right), 16)
    assert area_under(removed).item() == pytest.approx(deletion)
    assert area_under(brought).item() == pytest.approx(insertion)
    torch.testing.assert_close(removed + brought, torch.ones(17))


def test_a_random_order_of_the_same_pixels_lies_between() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(200, SIDE, SIDE, generator=generator)
    areas = area_under(torch.stack([replacement_curve(planted, WHITE, BLACK, x, 16) for x in maps]))
    assert areas.mean().item() == pytest.approx(0.5, abs=0.02)


def test_ends_are_the_two_images_and_every_step_replaces_its_share() -> None:
    generator = torch.Generator().manual_seed(1)
    start, finish = torch.rand(2, 3, SIDE, SIDE, generator=generator)
    order = torch.rand(SIDE, SIDE, generator=generator)
    seen: list[Tensor] = []

    def watch(images: Tensor) -> Tensor:
        seen.append(images)
        return images.mean((1, 2, 3))

    replacement_curve(watch, start, finish, order, 5)
    (frames,) = seen
    assert torch.equal(frames[0], start)
    assert torch.equal(frames[-1], finish)
    replaced = (frames == finish).all(1).flatten(1).sum(1)
    # A fifth of 64 pixels at a time, rounded.
    assert replaced.tolist() == [0, 13, 26, 38, 51, 64]
    least = [order[(frame == finish).all(0)].min() for frame in frames[1:]]
    rest = [order[~(frame == finish).all(0)].max() for frame in frames[:-1]]
    assert all(low > high for low, high in zip(least[:-1], rest[1:], strict=True))


def test_the_blur_keeps_brightness_and_removes_detail() -> None:
    board = (torch.arange(32)[:, None] + torch.arange(32)).remainder(2).float().expand(3, 32, 32)
    soft = blurred(board)
    assert soft.shape == board.shape
    assert soft.std() < 0.05 * board.std()
    assert soft.mean().item() == pytest.approx(0.5, abs=0.01)
