"""Roles, splits and data cards: what all data sets have in common."""

from __future__ import annotations

import difflib
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]

ROLES = ("train", "test", "aux", "public", "tune", "victims")

# Small roles first, so that a larger training set never changes who the victims are.
DEALING_ORDER = ("victims", "tune", "test", "public", "aux", "train")

# Any prefix of these roles is class balanced; the other roles are shuffled.
CYCLING_ROLES = ("victims", "tune")


@dataclass(frozen=True)
class Split:
    """The images of one role.

    Attributes:
        images: uint8 ``[n, 3, size, size]``, RGB, 0 to 255.
        labels: int64 ``[n]``, index into the classes of the data set.
        groups: int64 ``[n]``, the source photograph, source image or subject of each image.
        boxes: int64 ``[n, 4]``, the ``(y0, x0, y1, x1)`` cut out of the source (ends exclusive), or None where every
            image is a whole source image.
    """

    images: Bytes
    labels: Integers
    groups: Integers
    boxes: Integers | None = None


@dataclass(frozen=True)
class Prepared:
    """A data set at one size: its splits by role, and the card that describes them."""

    name: str
    size: int
    classes: tuple[str, ...]
    splits: dict[str, Split]
    card: dict[str, Any]


def stream(seed: int, *path: str | int) -> np.random.Generator:
    """Open the random stream of one purpose; the same seed and path give the same stream.

    >>> int(stream(0, "photos", "victims").integers(1000))
    195
    """
    words = [zlib.crc32(str(part).encode()) for part in path]
    return np.random.default_rng([seed, *words])


def check_request(dataset: str, counts: Mapping[str, int], seed: int) -> None:
    """Refuse unknown roles, negative counts and negative seeds with a message that helps."""
    for role, count in counts.items():
        if role not in ROLES:
            close = difflib.get_close_matches(role, ROLES, n=1)
            hint = f"did you mean '{close[0]}'? " if close else ""
            raise ValueError(
                f"{dataset}: unknown role '{role}': {hint}roles are {', '.join(ROLES)}"
            )
        if count < 0:
            raise ValueError(f"{dataset}: role '{role}' asks for {count} images; ask for 0 or more")
    if seed < 0:
        raise ValueError(f"{dataset}: seed {seed} is negative; use 0 or more")


def even_quota(dataset: str, role: str, wanted: int, available: Integers) -> Integers:
    """Share ``wanted`` images among the classes as evenly as their supply allows.

    Args:
        dataset, role: named in the error message.
        wanted: images to share out.
        available: int64 ``[classes]``, supply of each class.

    Returns:
        int64 ``[classes]``, summing to ``wanted``.

    Raises:
        ValueError: when the classes together hold fewer than ``wanted`` images.

    >>> even_quota("digits", "test", 8, np.array([9, 1, 9])).tolist()
    [4, 1, 3]
    """
    _refuse_too_many(dataset, role, wanted, int(available.sum()))
    quota = np.zeros_like(available)
    while (missing := wanted - int(quota.sum())) > 0:
        open_classes = np.flatnonzero(quota < available)
        # Open classes hold equal quotas until fewer images are missing than there are classes.
        share = max(1, missing // len(open_classes))
        takers = open_classes[: min(missing, len(open_classes))]
        quota[takers] = np.minimum(quota[takers] + share, available[takers])
    return quota


def proportional_quota(dataset: str, role: str, wanted: int, available: Integers) -> Integers:
    """Share ``wanted`` images among the classes in proportion to their supply, by largest remainders.

    Arguments, result and errors are those of `even_quota`.

    >>> proportional_quota("chest", "train", 10, np.array([15, 5, 4])).tolist()
    [6, 2, 2]
    """
    supply = int(available.sum())
    _refuse_too_many(dataset, role, wanted, supply)
    exact = wanted * available / max(supply, 1)
    quota = np.floor(exact).astype(np.int64)
    # Equal remainders: the class listed first. No class gets more than it has, since its exact share is at most that.
    largest = np.argsort(quota - exact, kind="stable")
    quota[largest[: wanted - int(quota.sum())]] += 1
    return quota


def _refuse_too_many(dataset: str, role: str, wanted: int, supply: int) -> None:
    if wanted > supply:
        asked = f"{dataset}: role '{role}' asks for {wanted} images"
        if supply == 0:
            raise ValueError(
                f"{asked} but none is left; supply more, or lower the counts of others"
            )
        raise ValueError(
            f"{asked} but only {supply} are available; lower the count of '{role}' to at most {supply}"
        )


def arrange(labels: Integers, role: str, rng: np.random.Generator) -> Integers:
    """Order a split: classes in turn for the cycling roles, shuffled for the others.

    >>> labels = np.array([0, 0, 1, 1, 2])
    >>> labels[arrange(labels, "victims", stream(0))].tolist()
    [0, 1, 2, 0, 1]
    """
    if role not in CYCLING_ROLES:
        return rng.permutation(len(labels))
    turn = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        turn[members] = np.arange(len(members))
    return np.lexsort((labels, turn))


def deal_images(
    dataset: str, labels: Integers, counts: Mapping[str, int], seed: int
) -> dict[str, Integers]:
    """Deal whole images to roles so that none is dealt twice.

    ``labels``, int64 ``[n]``, is the class of every image of the source, every class present.

    Returns:
        For each role in ``counts``, the int64 indices of its images, in the order of the split.

    Raises:
        ValueError: when a role asks for more than the roles dealt before it have left.
    """
    classes = int(labels.max()) + 1
    piles = [
        stream(seed, dataset, "pile", label).permutation(np.flatnonzero(labels == label))
        for label in range(classes)
    ]
    dealt: dict[str, Integers] = {}
    for role in (role for role in DEALING_ORDER if role in counts):
        supply = np.array([len(pile) for pile in piles], dtype=np.int64)
        quota = even_quota(dataset, role, counts[role], supply)
        taken = np.concatenate([pile[:n] for pile, n in zip(piles, quota, strict=True)])
        piles = [pile[n:] for pile, n in zip(piles, quota, strict=True)]
        dealt[role] = taken[arrange(labels[taken], role, stream(seed, dataset, "order", role))]
    return {role: dealt[role] for role in ROLES if role in dealt}


def first_occurrences(images: npt.NDArray[Any]) -> Integers:
    """Return the indices of the images left when exact repetitions are dropped, in source order.

    >>> first_occurrences(np.array([[1, 2], [3, 4], [1, 2]])).tolist()
    [0, 1]
    """
    _, first = np.unique(images.reshape(len(images), -1), axis=0, return_index=True)
    return np.sort(first)


def digest(split: Split) -> str:
    """Return the SHA-256 over the images and then the labels (little-endian int64) of a split."""
    digest_so_far = hashlib.sha256()
    # One at a time, so that images mapped from a file are never in memory all at once.
    for image in split.images:
        digest_so_far.update(image.tobytes())
    digest_so_far.update(split.labels.astype("<i8").tobytes())
    return digest_so_far.hexdigest()


def make_card(
    *,
    name: str,
    version: int,
    size: int,
    seed: int,
    synthetic: bool,
    description: str,
    sources: Sequence[Mapping[str, str]],
    rule: str,
    limits: str,
    classes: Sequence[str],
    splits: Mapping[str, Split],
    sharing: str = "public",
) -> dict[str, Any]:
    """Build the data card: plain data with which a reader can judge or rebuild the splits.

    ``sources`` are rows with ``name``, ``origin``, ``licence`` and, for files, ``file`` and
    ``sha256``. ``rule`` says how the roles were made disjoint, ``limits`` what the set is not,
    ``sharing`` (``public`` or ``restricted``) whether images and reconstructions may be passed on.
    """
    return {
        "name": name,
        "version": version,
        "size": size,
        "seed": seed,
        "synthetic": synthetic,
        "sharing": sharing,
        "description": description,
        "sources": [dict(source) for source in sources],
        "splitting_rule": rule,
        "limits": limits,
        "classes": list(classes),
        "counts": {role: class_counts(split.labels, classes) for role, split in splits.items()},
        "sha256": {role: digest(split) for role, split in splits.items()},
    }


def class_counts(labels: Integers, classes: Sequence[str]) -> dict[str, int]:
    """Count the images of each class.

    >>> class_counts(np.array([1, 1, 0]), ("cat", "dog"))
    {'cat': 1, 'dog': 2}
    """
    return dict(zip(classes, np.bincount(labels, minlength=len(classes)).tolist(), strict=True))
