"""Dealing a listing to roles: fairly by class, groups together, no image twice, and nothing decoded that is not asked for."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from published import PER_CLASS, SMALL, listed, publish
from resident import needs_linux, resident

from gradsiege.datasets import prepare
from gradsiege.datasets.formats import pictures
from gradsiege.datasets.preparation.listing import Listing, deal, splits_of
from gradsiege.datasets.preparation.mapped import mapped_bytes
from gradsiege.datasets.preparation.splits import (
    DEALING_ORDER,
    Bytes,
    Integers,
    proportional_quota,
)
from gradsiege.errors import refused_by_machine


def test_roles_may_be_dealt_from_the_test_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GI-PIP's auxiliary set is the validation part, GIFD's victims are in it."""
    publish("cifar10", tmp_path, monkeypatch)
    chosen = {"from_test": ["test", "aux"]}
    prepared = prepare("cifar10", 32, SMALL, 0, chosen)
    tested = np.flatnonzero(listed("cifar10", {}).tested)
    inside = {
        role: set(split.groups.tolist()) <= set(tested) for role, split in prepared.splits.items()
    }
    assert {role for role, indices in inside.items() if indices} == {"test", "aux"}
    assert "Of the official test part: test, aux" in prepared.card["splitting_rule"]
    with pytest.raises(ValueError, match="from_test: unknown role 'tets'"):
        prepare("cifar10", 32, SMALL, 0, {"from_test": ["tets"]})


# ---- dealing


def count_decodes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    opened: list[str] = []
    real = pictures.decode

    def counted(file: Any, name: str, *more: Any) -> Any:
        opened.append(name)
        return real(file, name, *more)

    monkeypatch.setattr(pictures, "decode", counted)
    return opened


def test_only_what_is_asked_for_is_decoded_and_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = publish("imagenet", tmp_path, monkeypatch)
    opened = count_decodes(monkeypatch)
    listed("imagenet", parameters)
    assert opened == []
    prepare("imagenet", 64, {"victims": 4, "train": 9, "test": 3}, 0, parameters)
    assert len(opened) == len(set(opened)) == 16 < 2 * 4 * PER_CLASS


def test_images_without_room_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    """As on a full disk; a file that only promised its pages would end the process at the first one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            mapped_bytes((2, 3, 64, 64), tmp_path / "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert refused_by_machine(caught.value).startswith(f"{tmp_path / 'new'}: File too large")


@needs_linux
def test_a_source_that_is_larger_than_memory_is_dealt_from_disk(tmp_path: Path) -> None:
    count, held = 9_000, []

    def read(indices: Integers) -> Iterator[Bytes]:
        for index in indices.tolist():
            held.append(resident())
            image = np.full((64, 64, 3), index % 256, dtype=np.uint8)
            image[0, 0] = index // 256
            yield image

    listing = Listing(("a", "b"), np.arange(count) % 2, read)
    splits = splits_of("large", listing, 64, {"train": count}, 0, folder=tmp_path)
    held.append(resident())
    assert len(splits["train"].images) == count
    # Twice 111 MB of images: as they are decoded, and in the order of the split.
    assert max(held) - held[0] < 40
    assert list(tmp_path.iterdir()) == [], "the room is given back with the images"


def test_repetitions_are_replaced_and_victims_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the files are copies: of two that are dealt, the victim stays, and the other is replaced."""
    parameters = publish("image_folder", tmp_path, monkeypatch)
    for number in range(0, 36, 2):
        for name in ("ant", "bee"):
            copy = tmp_path / f"mine/{name}/{number + 1}.png"
            copy.write_bytes((tmp_path / f"mine/{name}/{number}.png").read_bytes())
    opened = count_decodes(monkeypatch)
    alone = prepare("image_folder", 32, {"victims": 8}, 0, parameters)
    opened.clear()
    full = prepare("image_folder", 32, {"victims": 8, "train": 20, "test": 4}, 0, parameters)
    images = np.concatenate([split.images for split in full.splits.values()])
    assert len(np.unique(images.reshape(32, -1), axis=0)) == 32
    np.testing.assert_array_equal(alone.splits["victims"].images, full.splits["victims"].images)
    assert len(opened) == len(set(opened))
    with pytest.raises(
        ValueError,
        match=r"role 'train' asks for 30 images but only (\d+) are available; lower the count of 'train' to at most \1\. "
        r"\d+ were dropped as exact repetitions of others at 32 px, such as mine/(ant|bee)/\d+\.png",
    ):
        prepare("image_folder", 32, {"victims": 8, "train": 30}, 0, parameters)


def test_a_picture_under_two_labels_is_counted_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the data card and on the screen; one of the two labels must be wrong."""
    parameters = publish("image_folder", tmp_path, monkeypatch)
    sure = prepare("image_folder", 32, {"victims": 8, "train": 20}, 0, parameters)
    assert "another label" not in sure.card["limits"]
    for number in range(36):
        copy = tmp_path / f"mine/bee/{number}.png"
        copy.write_bytes((tmp_path / f"mine/ant/{number}.png").read_bytes())
    capsys.readouterr()
    prepared = prepare("image_folder", 32, {"victims": 8, "train": 24}, 0, parameters)
    counted = re.search(
        r"images that equal one of another label are dropped: (\d+), such as "
        r"mine/(ant|bee)/(\d+)\.png \((\w+)\) and mine/(ant|bee)/(\d+)\.png \((\w+)\)",
        prepared.card["limits"],
    )
    assert counted
    assert f"image_folder: {counted[0]}" in capsys.readouterr().err
    count, *pair = counted.groups()
    assert int(count) > 0
    assert (pair[0], pair[3]) == (pair[2], pair[5])
    assert pair[0] != pair[3]
    assert pair[1] == pair[4]


def test_pictures_that_are_all_equal_are_named_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = publish("image_folder", tmp_path, monkeypatch)
    for path in (tmp_path / "mine").rglob("*.png"):
        Image.new("L", (20, 20), 77).save(path)
    with pytest.raises(
        ValueError,
        match=r"'train' asks for 1 images but none is left; supply more, or lower the counts of others\. "
        r"\d+ were dropped as exact repetitions .*pictures of one colour alone: \d+, such as mine/",
    ):
        prepare("image_folder", 32, {"victims": 1, "train": 1}, 0, parameters)


def some(images: int, classes: int, groups: int | None = None) -> Listing:
    """A listing without images."""
    labels = np.random.default_rng(images).integers(0, classes, images)
    of_group = None if groups is None else np.random.default_rng(1).integers(0, groups, images)
    names = tuple(f"class {place}" for place in range(classes))
    return Listing(names, labels, lambda indices: iter(()), None, of_group)


def test_many_classes_are_dealt_fairly() -> None:
    """Eight victims of a thousand classes are not always of the first eight, and all roles share their classes."""
    source = some(60_000, 1000)
    wanted = {"victims": 8, "test": 500, "train": 20_000}
    dealt = deal("any", source, wanted, 0)
    labels = {role: source.labels[index] for role, index in dealt.items()}
    assert len(set(labels["victims"].tolist())) == 8
    assert labels["victims"].max() > 100
    assert set(labels["victims"].tolist()) <= set(labels["test"].tolist())
    assert np.bincount(labels["train"]).tolist() == [20] * 1000
    fewer = deal("any", source, {"victims": 8}, 0)
    np.testing.assert_array_equal(fewer["victims"], dealt["victims"])


@pytest.mark.parametrize("seed", range(3))
def test_groups_stay_together(seed: int) -> None:
    source = some(4000, 5, groups=900)
    wanted = dict.fromkeys(DEALING_ORDER, 60)
    dealt = deal("any", source, wanted, seed)
    assert source.groups is not None
    owners = [set(source.groups[index].tolist()) for index in dealt.values()]
    assert sum(map(len, owners)) == len(set.union(*owners))
    assert {role: len(index) for role, index in dealt.items()} == wanted
    # A large role spends few patients; victims are of as many as can be.
    assert len(owners[list(dealt).index("victims")]) == 60
    assert len(owners[list(dealt).index("train")]) < 60


def test_numbers_of_a_group_without_a_name_are_its_own() -> None:
    rows = [
        pictures.Row("a", 0, "p"),
        pictures.Row("b", 0),
        pictures.Row("c", 0, "p"),
        pictures.Row("d", 0),
    ]
    assert pictures.list_files(Path(), rows, ("x",)).groups.tolist() == [0, 1, 0, 2]


# ---- a rare class


def unequal(rare: int, common: int) -> Listing:
    """A listing of two classes, none of its images readable."""
    labels = np.repeat(np.arange(2), [rare, common])
    return Listing(("rare", "common"), labels, lambda _: iter(()))


COUNTS = {"train": 270, "test": 100, "aux": 100, "public": 40, "tune": 8, "victims": 32}


def test_a_rare_class_reaches_the_roles_dealt_last_if_they_are_proportional() -> None:
    listing = unequal(108, 500)
    last = ("test", "public", "aux", "train")
    even = deal("chest", listing, COUNTS, 0)
    shared = deal("chest", listing, COUNTS, 0, proportional=last)
    rare = {role: int((listing.labels[index] == 0).sum()) for role, index in even.items()}
    assert (rare["public"], rare["aux"], rare["train"]) == (20, 18, 0)
    for role in ("victims", "tune"):
        assert shared[role].tolist() == even[role].tolist()
    left = 108 - 16 - 4
    for role in last:
        found = int((listing.labels[shared[role]] == 0).sum())
        assert abs(found - COUNTS[role] * left / 568) <= 1
    dealt = np.concatenate(list(shared.values()))
    assert len(set(dealt.tolist())) == len(dealt) == sum(COUNTS.values())


@pytest.mark.parametrize("available", [[5, 0, 2], [1, 1, 1], [40, 3, 7]])
def test_a_proportional_share_is_within_one_image_of_the_exact_one(available: list[int]) -> None:
    supply = np.array(available)
    for wanted in range(int(supply.sum()) + 1):
        quota = proportional_quota("chest", "train", wanted, supply)
        assert quota.sum() == wanted
        assert (quota <= supply).all()
        assert (abs(quota - wanted * supply / supply.sum()) < 1).all()
    with pytest.raises(ValueError, match="only"):
        proportional_quota("chest", "train", int(supply.sum()) + 1, supply)


def test_a_data_set_says_which_roles_are_proportional(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = publish("image_manifest", tmp_path, monkeypatch)
    prepared = prepare("image_manifest", 32, SMALL, 0, parameters | {"proportional": ["train"]})
    assert "In the source's shares of classes: train." in prepared.card["splitting_rule"]
    with pytest.raises(ValueError, match="proportional: unknown role 'trian'"):
        prepare("image_manifest", 32, SMALL, 0, parameters | {"proportional": ["trian"]})
