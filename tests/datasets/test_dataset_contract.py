"""What every data set promises: shapes, counts, balance, disjoint roles, determinism, its card."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from gradsiege import datasets
from gradsiege.catalogue import entries
from gradsiege.datasets import kind, obtained, prepare
from gradsiege.datasets.preparation.splits import CYCLING_ROLES, ROLES, Prepared, Split

Build = Callable[..., Prepared]


def hashes(split: Split) -> list[bytes]:
    return [hashlib.sha256(image.tobytes()).digest() for image in split.images]


def test_shapes_types_and_ranges(prepared: Prepared) -> None:
    for split in prepared.splits.values():
        number = len(split.images)
        assert split.images.dtype == np.uint8
        assert split.images.shape == (number, 3, prepared.size, prepared.size)
        assert split.images.flags.c_contiguous
        assert split.labels.dtype == split.groups.dtype == np.int64
        assert split.labels.shape == split.groups.shape == (number,)
        assert set(split.labels.tolist()) <= set(range(len(prepared.classes)))


def test_counts_are_exact_and_roles_in_order(
    prepared: Prepared, counts: dict[str, dict[str, int]]
) -> None:
    asked = counts[prepared.name]
    assert {role: len(split.images) for role, split in prepared.splits.items()} == asked
    assert tuple(prepared.splits) == ROLES


def test_classes_are_balanced(prepared: Prepared) -> None:
    for split in prepared.splits.values():
        of_class = np.bincount(split.labels, minlength=len(prepared.classes))
        assert of_class.max() - of_class.min() <= 1


def test_victims_and_tune_cycle_through_the_classes(prepared: Prepared) -> None:
    for role in CYCLING_ROLES:
        labels = prepared.splits[role].labels
        np.testing.assert_array_equal(labels, np.arange(len(labels)) % len(prepared.classes))


def test_the_other_roles_are_shuffled(prepared: Prepared) -> None:
    labels = prepared.splits["train"].labels
    assert (np.diff(labels) < 0).sum() > len(labels) / 10


def test_no_image_stands_twice_within_or_across_roles(prepared: Prepared) -> None:
    seen = [digest for split in prepared.splits.values() for digest in hashes(split)]
    assert len(seen) == len(set(seen))


def test_no_image_is_nearly_constant(prepared: Prepared) -> None:
    for split in prepared.splits.values():
        assert split.images.std(axis=(1, 2, 3)).min() > 4


def test_same_seed_same_bytes_other_seed_other_images(
    prepared: Prepared, counts: dict[str, dict[str, int]], build: Build
) -> None:
    again = prepare(prepared.name, prepared.size, counts[prepared.name], 0)
    other = build(prepared.name, seed=1)
    for role, split in prepared.splits.items():
        assert split.images.tobytes() == again.splits[role].images.tobytes()
        np.testing.assert_array_equal(split.labels, again.splits[role].labels)
        np.testing.assert_array_equal(split.groups, again.splits[role].groups)
        assert split.images.tobytes() != other.splits[role].images.tobytes()
    assert prepared.card == again.card


def test_global_random_state_is_neither_read_nor_changed() -> None:
    before = np.random.get_state()[1].tobytes()
    prepare("phantom", 32, {"victims": 4}, 0)
    prepare("faces", 32, {"victims": 4}, 0)
    assert np.random.get_state()[1].tobytes() == before


@pytest.mark.parametrize("name", ["photos", "digits", "faces", "phantom"])
def test_more_training_images_leave_the_victims_alone(name: str, build: Build) -> None:
    full = build(name)
    alone = prepare(name, 32, {"victims": len(full.splits["victims"].images)}, 0)
    np.testing.assert_array_equal(alone.splits["victims"].images, full.splits["victims"].images)


def test_card_is_complete_json(prepared: Prepared) -> None:
    card = json.loads(json.dumps(prepared.card))
    assert card == prepared.card
    assert card["name"] == prepared.name
    assert card["size"] == prepared.size
    assert card["synthetic"] is (prepared.name == "phantom")
    assert card["classes"] == list(prepared.classes)
    assert card["sharing"] == "public"
    for key in ("description", "splitting_rule", "limits"):
        assert len(card[key]) > 20
    for source in card["sources"]:
        assert {"name", "origin", "licence"} <= source.keys()
    for role, split in prepared.splits.items():
        assert list(card["counts"][role]) == list(prepared.classes)
        assert sum(card["counts"][role].values()) == len(split.images)


def test_card_hashes_verify(prepared: Prepared) -> None:
    for role, split in prepared.splits.items():
        content = split.images.tobytes() + split.labels.astype("<i8").tobytes()
        assert prepared.card["sha256"][role] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("name", entries("datasets"))
def test_what_is_obtained_states_its_origin_and_the_rest_prepares_itself(name: str) -> None:
    attributes = vars(kind(name))
    assert getattr(datasets, entries("datasets")[name].method) is kind(name)
    assert kind(name).name == name
    if name in obtained("shipped"):
        assert "prepare" in attributes
        assert kind(name).origin is None
    else:
        assert {"origin", "files", "listing"} <= set(attributes)
        assert "prepare" not in attributes
        assert name in (*obtained("downloaded"), *obtained("supplied"))


def test_import_is_light_and_no_dataset_needs_torch_or_the_source_packages() -> None:
    code = (
        "import sys, gradsiege.datasets as d\n"
        "assert 'numpy' not in sys.modules\n"
        "for name in d.obtained('shipped'): d.prepare(name, 32, {'victims': 10}, 0)\n"
        "heavy = {'torch', 'sklearn', 'skimage', 'pooch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
