"""No pixel of a photograph is seen by two roles: painted, not argued."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import combinations

import numpy as np
import pytest

from gradsiege.datasets import prepare
from gradsiege.datasets.photos import SOURCES
from gradsiege.datasets.photos import load as read_photograph
from gradsiege.datasets.preparation.crops import (
    CELLS,
    GRID,
    Crops,
    deal_cells,
    deviations,
    draw,
    draw_apart,
    grid,
    inside,
    ladder,
    overlap,
    quarters,
    summed_areas,
)
from gradsiege.datasets.preparation.resample import square
from gradsiege.datasets.preparation.splits import Prepared, stream

Build = Callable[..., Prepared]

load = cache(read_photograph)


def painted(prepared: Prepared, role: str, photograph: int) -> np.ndarray:
    """Mask of every pixel of a photograph that some crop of a role contains."""
    split = prepared.splits[role]
    assert split.boxes is not None
    mask = np.zeros(load(SOURCES[photograph]).shape[:2], dtype=bool)
    for y0, x0, y1, x1 in split.boxes[split.groups == photograph]:
        assert 0 <= y0 < y1 <= mask.shape[0]
        assert 0 <= x0 < x1 <= mask.shape[1]
        mask[y0:y1, x0:x1] = True
    return mask


@pytest.mark.parametrize(("size", "seed"), [(32, 0), (32, 1), (64, 0)])
def test_roles_share_no_pixel(size: int, seed: int, build: Build) -> None:
    prepared = build("photos", size=size, seed=seed)
    for photograph in range(len(SOURCES)):
        masks = {role: painted(prepared, role, photograph) for role in prepared.splits}
        assert all(mask.any() for mask in masks.values())
        for first, second in combinations(masks, 2):
            assert not (masks[first] & masks[second]).any(), (
                SOURCES[photograph].name,
                first,
                second,
            )


def test_roles_share_no_pixel_at_the_counts_of_a_study() -> None:
    asked = {"train": 3000, "test": 600, "aux": 1500, "public": 500, "tune": 16, "victims": 64}
    prepared = prepare("photos", 32, asked, 5)
    for photograph in range(len(SOURCES)):
        uses = sum(painted(prepared, role, photograph).astype(int) for role in asked)
        assert uses.max() == 1


def test_images_are_what_their_boxes_say(build: Build) -> None:
    for split in build("photos").splits.values():
        assert split.boxes is not None
        np.testing.assert_array_equal(split.labels, split.groups)
        for index in range(0, len(split.images), 7):
            y0, x0, y1, x1 = split.boxes[index]
            crop = load(SOURCES[split.groups[index]])[y0:y1, x0:x1]
            np.testing.assert_array_equal(square(crop, 32), split.images[index])


def test_crops_are_square_distinct_and_of_several_scales(build: Build) -> None:
    for role, split in build("photos").splits.items():
        assert split.boxes is not None
        heights, widths = (split.boxes[:, 2:] - split.boxes[:, :2]).T
        np.testing.assert_array_equal(heights, widths)
        assert heights.min() >= 32
        identities = np.column_stack([split.groups, split.boxes])
        assert len(np.unique(identities, axis=0)) == len(identities)
        if role == "train":
            for photograph in range(len(SOURCES)):
                sides = heights[split.groups == photograph]
                assert len(np.unique(sides)) >= 4
                assert sides.max() - sides.min() >= 30


def test_there_are_ten_photographs_each_a_class(build: Build) -> None:
    prepared = build("photos")
    assert len(set(prepared.classes)) == len(SOURCES) == 10
    assert len({source.file for source in SOURCES}) == 10
    assert "motorcycle_right.png" not in {source.file for source in SOURCES}


def test_card_states_the_rules_in_force(build: Build) -> None:
    card = build("photos").card
    assert "4x4 equal regions" in card["splitting_rule"]
    assert "at least 8 of 255" in card["splitting_rule"]
    assert all(len(source["sha256"]) == 64 for source in card["sources"])


def test_every_accepted_crop_shows_something_in_two_quarters(build: Build) -> None:
    split = build("photos").splits["victims"]
    assert split.boxes is not None
    for photograph, (y0, x0, y1, x1) in zip(split.groups, split.boxes, strict=True):
        green = load(SOURCES[photograph])[y0:y1, x0:x1, 1].astype(float)
        y, x = (y0 + y1) // 2 - y0, (x0 + x1) // 2 - x0
        parts = (green[:y, :x], green[:y, x:], green[y:, :x], green[y:, x:])
        assert sorted(part.std() for part in parts)[-2] >= 8


def test_grid_tiles_the_photograph() -> None:
    for height, width in [(300, 451), (303, 384), (512, 512), (1411, 1411)]:
        uses = np.zeros((height, width), dtype=int)
        for y0, x0, y1, x1 in grid(height, width):
            uses[y0:y1, x0:x1] += 1
        assert uses.min() == uses.max() == 1
    assert sum(CELLS.values()) == GRID * GRID


def test_every_role_gets_its_cells_and_a_lively_one() -> None:
    lively = np.zeros(GRID * GRID, dtype=bool)
    lively[:7] = True
    for seed in range(20):
        dealt = deal_cells(lively, stream(seed))
        assert {role: len(cells) for role, cells in dealt.items()} == CELLS
        assert sorted(np.concatenate(list(dealt.values()))) == list(range(GRID * GRID))
        assert all(lively[cells].any() for cells in dealt.values())
    with pytest.raises(ValueError, match="only 5 of 16 cells"):
        deal_cells(np.arange(16) < 5, stream(0))


def test_crops_stay_inside_their_region() -> None:
    region = np.array([10, 20, 110, 133])
    crops = inside(region, ladder(32, 100))
    assert (crops.boxes[:, :2] >= region[:2]).all()
    assert (crops.boxes[:, 2:] <= region[2:]).all()
    assert set(crops.rungs.tolist()) == set(range(6))


def test_deviations_match_numpy() -> None:
    level = stream(0).integers(0, 256, size=(40, 50), dtype=np.uint8)
    boxes = np.array([[0, 0, 40, 50], [3, 4, 17, 18], [39, 49, 40, 50]])
    expected = [level[y0:y1, x0:x1].std() for y0, x0, y1, x1 in boxes]
    np.testing.assert_allclose(deviations(summed_areas(level), boxes), expected, atol=1e-9)


def test_quarters_tile_a_box_with_odd_sides() -> None:
    uses = np.zeros((9, 9), dtype=int)
    for part in quarters(np.array([[1, 2, 8, 9]])):
        y0, x0, y1, x1 = part[0]
        uses[y0:y1, x0:x1] += 1
    assert uses.sum() == uses[1:8, 2:9].sum() == 49


def test_draw_gives_all_scales_the_same_chance() -> None:
    crops = inside(np.array([0, 0, 128, 128]), ladder(32, 128))
    index = draw(crops, 60, stream(0))
    assert len(set(index.tolist())) == 60
    share = np.bincount(crops.rungs[index], minlength=6)
    assert share[:5].min() >= 5
    assert len(draw(crops, len(crops), stream(0))) == len(crops)


def test_draw_apart_prefers_crops_that_do_not_touch() -> None:
    crops = inside(np.array([0, 0, 64, 64]), np.array([32]))
    boxes = crops.boxes[draw_apart(crops, 2, stream(3))]
    everything = overlap(crops.boxes, boxes[0])
    assert overlap(boxes[1:], boxes[0])[0] == everything.min()
    few = Crops(crops.boxes[:3], crops.rungs[:3])
    assert sorted(draw_apart(few, 3, stream(0)).tolist()) == [0, 1, 2]
