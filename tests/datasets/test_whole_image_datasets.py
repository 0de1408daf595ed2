"""Faces and digits: each source image goes to one role, unchanged but for its size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gradsiege.datasets import prepare
from gradsiege.datasets.digits import load as load_digits
from gradsiege.datasets.faces import load as load_faces
from gradsiege.datasets.preparation.resample import square
from gradsiege.datasets.preparation.splits import Prepared, first_occurrences

Build = Callable[..., Prepared]


@pytest.mark.parametrize("name", ["faces", "digits"])
def test_each_source_image_has_one_role(name: str, build: Build) -> None:
    groups = np.concatenate([split.groups for split in build(name).splits.values()])
    assert len(groups) == len(set(groups.tolist()))
    assert all(split.boxes is None for split in build(name).splits.values())


@pytest.mark.parametrize(("name", "load"), [("faces", load_faces), ("digits", load_digits)])
def test_images_are_their_source_resized(
    name: str, load: Callable[[], tuple[np.ndarray, np.ndarray, np.ndarray]], build: Build
) -> None:
    images, labels, numbers = load()
    place = {int(number): index for index, number in enumerate(numbers)}
    for split in build(name).splits.values():
        for index in range(0, len(split.images), 11):
            source = place[int(split.groups[index])]
            np.testing.assert_array_equal(split.images[index], square(images[source], 32))
            assert split.labels[index] == labels[source]


def test_digits_are_those_of_scikit_learn() -> None:
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    expected = sklearn_datasets.load_digits()
    bitmaps, labels, numbers = load_digits()
    np.testing.assert_array_equal(numbers, np.arange(1797))
    np.testing.assert_array_equal(labels, expected.target)
    np.testing.assert_allclose(bitmaps, expected.images * 255 / 16, atol=0.5)


def test_faces_are_the_first_hundred_patches() -> None:
    patches, labels, numbers = load_faces()
    assert patches.shape[1:] == (25, 25)
    np.testing.assert_array_equal(labels, (numbers < 100).astype(int))
    assert np.bincount(labels).tolist() == [84, 100]
    assert patches.std(axis=(1, 2)).min() >= 8


def test_every_digit_can_be_dealt() -> None:
    dealt = prepare("digits", 32, {"train": 1397, "test": 400}, 0)
    groups = np.concatenate([split.groups for split in dealt.splits.values()])
    np.testing.assert_array_equal(np.sort(groups), np.arange(1797))


def test_repetitions_in_the_source_are_dropped() -> None:
    images = np.stack([np.full((2, 2), value, dtype=np.uint8) for value in (5, 3, 5, 3, 9)])
    assert first_occurrences(images).tolist() == [0, 1, 4]


def test_resizing_keeps_grey_constant_and_averages_when_shrinking() -> None:
    grey = np.full((25, 25), 77, dtype=np.uint8)
    for size in (16, 25, 32):
        np.testing.assert_array_equal(square(grey, size), np.full((3, size, size), 77))
    checks = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert abs(square(checks, 16).astype(int) - 127).max() <= 2
    colour = noise((40, 40, 3))
    np.testing.assert_array_equal(square(colour, 40), colour.transpose(2, 0, 1))


def noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=shape, dtype=np.uint8)
