"""Drawn radiographs: subjects differ, findings show, sizes agree, and the card says synthetic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gradsiege.datasets import prepare
from gradsiege.datasets.phantom import CLASSES, radiograph
from gradsiege.datasets.preparation.splits import Prepared, stream

Build = Callable[..., Prepared]


def test_every_image_is_a_subject_of_its_own(build: Build) -> None:
    groups = np.concatenate([split.groups for split in build("phantom").splits.values()])
    assert len(groups) == len(set(groups.tolist()))


def test_subjects_of_one_class_differ_far_beyond_the_noise(build: Build) -> None:
    split = build("phantom").splits["train"]
    for label in range(len(CLASSES)):
        images = split.images[split.labels == label, 0].astype(float)
        differences = np.abs(images[:, None] - images[None]).mean(axis=(2, 3))
        apart = differences[~np.eye(len(images), dtype=bool)]
        assert apart.min() > 4
        assert np.median(apart) > 15


def test_a_finding_is_drawn_onto_the_same_subject() -> None:
    normal = radiograph("normal", 64, stream(0, "one")).astype(float)
    for finding in CLASSES[1:]:
        changed = radiograph(finding, 64, stream(0, "one")).astype(float) - normal
        assert changed.max() > 30  # fluid and tumour are brighter than air
        assert changed.min() > -2
        assert 0.005 < (changed > 10).mean() < 0.35


def test_classes_can_be_told_apart_by_a_linear_model() -> None:
    prepared = prepare("phantom", 32, {"train": 400, "test": 200}, 0)
    train, test = prepared.splits["train"], prepared.splits["test"]
    mean = train.images[:, 0].mean(axis=0)
    seen = ((train.images[:, 0] - mean) / 255).reshape(400, -1)
    unseen = ((test.images[:, 0] - mean) / 255).reshape(200, -1)
    # Ridge regression on the one-hot labels, in its dual form.
    dual = np.linalg.solve(seen @ seen.T + 5 * np.eye(400), np.eye(4)[train.labels] - 0.25)
    guesses = (unseen @ seen.T @ dual).argmax(axis=1)
    assert (guesses == test.labels).mean() > 0.5


@pytest.mark.parametrize("finding", CLASSES)
def test_sizes_show_the_same_subject(finding: str) -> None:
    small = radiograph(finding, 32, stream(0, finding)).astype(float)
    for size in (64, 224):
        large = radiograph(finding, size, stream(0, finding)).astype(float)
        factor = size // 32
        averaged = large.reshape(32, factor, 32, factor).mean(axis=(1, 3))
        assert np.abs(averaged - small).mean() < 5


def test_pictures_use_the_range_without_clipping_it_away(build: Build) -> None:
    images = build("phantom").splits["train"].images
    assert (images == 255).mean() < 0.05
    assert images.max() > 230
    np.testing.assert_array_equal(images[:, 0], images[:, 2])


def test_lungs_are_darker_than_the_midline_and_the_abdomen(build: Build) -> None:
    split = build("phantom").splits["train"]
    normal = split.images[split.labels == 0, 0].astype(float)
    lung = normal[:, 10:16, 8:12].mean()
    assert normal[:, 12:18, 15:17].mean() > lung + 50
    assert normal[:, 28:31, 10:22].mean() > lung + 50


def test_card_says_synthetic_in_words(build: Build) -> None:
    card = build("phantom").card
    assert card["synthetic"] is True
    assert "synthetic stand-in" in card["description"].lower()


def test_longer_splits_begin_with_the_same_subjects() -> None:
    few = prepare("phantom", 32, {"victims": 4}, 0).splits["victims"]
    many = prepare("phantom", 32, {"victims": 9}, 0).splits["victims"]
    np.testing.assert_array_equal(few.images, many.images[:4])
