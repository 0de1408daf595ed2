"""Requests that cannot be met end in a message that names what, how many, and what to do."""

from __future__ import annotations

import importlib
import re

import numpy as np
import pytest

from gradsiege.datasets import prepare
from gradsiege.datasets.preparation.splits import even_quota
from gradsiege.datasets.sources.packaged import packaged_file
from gradsiege.errors import StudyError


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(StudyError, match="unknown name 'photo' in datasets; did you mean 'photos'"):
        prepare("photo", 32, {"train": 10}, 0)


def test_unknown_role_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match="digits: unknown role 'victim': did you mean 'victims'"):
        prepare("digits", 32, {"victim": 10}, 0)


@pytest.mark.parametrize(
    ("name", "counts", "role", "asked", "left"),
    [
        ("faces", {"victims": 16, "train": 500}, "train", 500, 168),
        ("digits", {"victims": 16, "train": 2000}, "train", 2000, 1781),
        ("phantom", {"train": 1_000_001}, "train", 1_000_001, 1_000_000),
    ],
)
def test_too_many_images(
    name: str, counts: dict[str, int], role: str, asked: int, left: int
) -> None:
    message = (
        f"{name}: role '{role}' asks for {asked} images but only {left} are available; "
        f"lower the count of '{role}' to at most {left}"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        prepare(name, 32, counts, 0)


def test_too_many_crops() -> None:
    with pytest.raises(ValueError, match=r"photos: role 'tune' asks for 10000000 images but only"):
        prepare("photos", 32, {"tune": 10_000_000}, 0)


def test_crops_must_fit_the_smallest_region() -> None:
    with pytest.raises(ValueError, match="photos: size 128 does not fit: use 8 to 75"):
        prepare("photos", 128, {"tune": 10}, 0)


def test_radiographs_have_a_range_of_sizes() -> None:
    with pytest.raises(ValueError, match="phantom: size 16 is out of range: use 32 to 224"):
        prepare("phantom", 16, {"tune": 4}, 0)


@pytest.mark.parametrize("name", ["photos", "faces", "digits", "phantom"])
def test_negative_numbers_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: role 'train' asks for -1 images"):
        prepare(name, 32, {"train": -1}, 0)
    with pytest.raises(ValueError, match=f"{name}: seed -1 is negative"):
        prepare(name, 32, {"train": 1}, -1)


@pytest.mark.parametrize("name", ["photos", "digits", "phantom"])
def test_a_role_may_be_empty_or_absent(name: str) -> None:
    prepared = prepare(name, 32, {"train": 0, "victims": 3}, 0)
    assert list(prepared.splits) == ["train", "victims"]
    assert prepared.splits["train"].images.shape == (0, 3, 32, 32)
    assert len(prepared.splits["victims"].labels) == 3


def test_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"'skimage' has no file 'data/nothing.png'"):
        packaged_file("skimage", "data/nothing.png", "0" * 64)
    with pytest.raises(FileNotFoundError, match="'no_such_package' has no file"):
        packaged_file("no_such_package", "data/nothing.png", "0" * 64)


def test_changed_file_is_refused() -> None:
    with pytest.raises(ValueError, match=r"camera\.png has SHA-256 b0793d.*expected 0000"):
        packaged_file("skimage", "data/camera.png", "0" * 64)


def test_missing_photograph_stops_the_preparation(monkeypatch: pytest.MonkeyPatch) -> None:
    photos = importlib.import_module("gradsiege.datasets.photos")
    lost = [photos.Source("eagle", "eagle.png", "somewhere", "CC0", "0" * 64)]
    monkeypatch.setattr(photos, "SOURCES", lost)
    with pytest.raises(FileNotFoundError, match=r"data/eagle\.png"):
        prepare("photos", 32, {"tune": 1}, 0)


def test_quota_is_as_even_as_the_supply_allows() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        supply = generator.integers(0, 30, size=5)
        wanted = int(generator.integers(0, supply.sum() + 1))
        quota = even_quota("any", "train", wanted, supply)
        assert quota.sum() == wanted
        assert (quota <= supply).all()
        unexhausted = quota[quota < supply]
        if len(unexhausted):  # whoever could give more gives within one of the largest share
            assert unexhausted.min() >= quota.max() - 1
