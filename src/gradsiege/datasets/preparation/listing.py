"""Dealing the images of a large source: all are listed, and only those that are dealt are decoded, once each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gradsiege.datasets.preparation.mapped import mapped_bytes
from gradsiege.datasets.preparation.resample import middle, square
from gradsiege.datasets.preparation.splits import (
    CYCLING_ROLES,
    DEALING_ORDER,
    ROLES,
    Bytes,
    Integers,
    Split,
    arrange,
    even_quota,
    proportional_quota,
    stream,
)
from gradsiege.progress import track

RULE = (
    "Whole images are dealt to roles, class by class, from a seeded permutation. All images of one group (a patient, a "
    "person; without groups, the image alone) go to one role. Exact repetitions among the images dealt are dropped and "
    "replaced, so no image stands in two roles. Images are cut to their central square and resized."
)


@dataclass(frozen=True)
class Listing:
    """Every image of a source, none of them decoded.

    Attributes:
        classes: their names.
        labels: int64 ``[n]``, index into `classes`; a class may have no image.
        read: decodes the images of ascending indices, one after the other: uint8 ``[h, w]`` or ``[h, w, 3]``.
        tested: bool ``[n]``, images of the official test part, or None where the source has none.
        groups: int64 ``[n]`` from 0, or None where every image is a group of its own.
        paths: of the image files, relative to the data set's folder; empty where images lie in an archive.
        notes: what the source holds and the listing leaves out, in sentences.
        seen: returns sentences about the images that were read so far.
    """

    classes: tuple[str, ...]
    labels: Integers
    read: Callable[[Integers], Iterator[Bytes]]
    tested: npt.NDArray[np.bool_] | None = None
    groups: Integers | None = None
    paths: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seen: Callable[[], list[str]] = field(default=list)


def deal(
    name: str,
    listing: Listing,
    counts: Mapping[str, int],
    seed: int,
    from_test: Collection[str] = (),
    dropped: Collection[int] = (),
    proportional: Collection[str] = (),
) -> dict[str, Integers]:
    """Deal images to roles, each group to one role only.

    Args:
        name: named in errors, and part of the random streams.
        listing, counts, seed: the source, the images of each role, and the seed.
        from_test: roles that are dealt from the official test part; the others never are.
        dropped: images that must not be dealt.
        proportional: roles whose classes have the shares that the source has left; those of the others are as even as they can be.

    Returns:
        For each role in ``counts``, the int64 indices of its images, in the order of the split.
    """
    n, classes = len(listing.labels), len(listing.classes)
    groups = np.arange(n) if listing.groups is None else listing.groups
    free = np.ones(n, dtype=bool)
    free[list(dropped)] = False
    claimed = np.zeros(int(groups.max(initial=-1)) + 1, dtype=bool)
    orders = _orders(groups, name, seed)
    # A role smaller than the number of classes shows a fair choice of them, the same for every role.
    turn = stream(seed, name, "classes").permutation(classes)
    dealt: dict[str, Integers] = {}
    for role in (role for role in DEALING_ORDER if role in counts):
        part = _part(listing, role, from_test) & free & ~claimed[groups]
        order = orders[role in CYCLING_ROLES]
        candidates = order[part[order]]
        labels = listing.labels[candidates]
        supply = np.bincount(labels, minlength=classes)
        quota = np.zeros(classes, dtype=np.int64)
        shared = proportional_quota if role in proportional else even_quota
        quota[turn] = shared(name, role, counts[role], supply[turn])
        chosen = candidates[_place_in_class(labels) < quota[labels]]
        claimed[groups[chosen]] = True
        order_of_role = arrange(listing.labels[chosen], role, stream(seed, name, "order", role))
        dealt[role] = chosen[order_of_role]
    return {role: dealt[role] for role in ROLES if role in dealt}


def _orders(groups: Integers, name: str, seed: int) -> tuple[Integers, Integers]:
    """Orders in which images are offered: group after group, and one image of every group before a second one.

    The first spends few groups on a large role; the second makes victims as different as they can be.
    """
    rank_of_image = stream(seed, name, "images").permutation(len(groups))
    rank_of_group = stream(seed, name, "groups").permutation(int(groups.max(initial=-1)) + 1)
    together = np.lexsort((rank_of_image, rank_of_group[groups]))
    nth = np.empty(len(groups), dtype=np.int64)
    nth[together] = _place_in_class(groups[together])
    apart = np.lexsort((rank_of_group[groups], nth))
    return together, apart


def _place_in_class(labels: Integers) -> Integers:
    """Return, for each position, the number of equal labels before it.

    >>> _place_in_class(np.array([2, 0, 2, 2, 0])).tolist()
    [0, 0, 1, 2, 1]
    """
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    starts = np.searchsorted(ordered, ordered)
    place = np.empty(len(labels), dtype=np.int64)
    place[order] = np.arange(len(labels)) - starts
    return place


def _part(listing: Listing, role: str, from_test: Collection[str]) -> npt.NDArray[np.bool_]:
    if listing.tested is None:
        return np.ones(len(listing.labels), dtype=bool)
    return listing.tested if role in from_test else ~listing.tested


def splits_of(
    name: str,
    listing: Listing,
    size: int,
    counts: Mapping[str, int],
    seed: int,
    from_test: Collection[str] = (),
    folder: Path | None = None,
    remark: Callable[[str, str], None] | None = None,
    proportional: Collection[str] = (),
) -> dict[str, Split]:
    """Deal, decode and resize; `groups` of a split is the group of the source.

    The images are mapped from files without names in `folder`, so that a split may be larger than memory. `remark` is
    called with what is to be counted about images that are dropped, and an example.

    Raises:
        ValueError: when a role asks for more images than exist, or an image cannot be read; it is named.
    """
    held: dict[int, Bytes] = {}
    prints: dict[int, bytes] = {}
    dropped: set[int] = set()
    while True:
        try:
            dealt = deal(name, listing, counts, seed, from_test, dropped, proportional)
        except ValueError as error:
            raise ValueError(f"{error}{_why_so_few(listing, dropped, size)}") from error
        wanted = np.unique(np.concatenate([*dealt.values(), np.empty(0, dtype=np.int64)]))
        wanted = np.array([index for index in wanted.tolist() if index not in held], dtype=np.int64)
        reading = listing.read(wanted)
        decoded = mapped_bytes((len(wanted), 3, size, size), folder)
        for place in track(range(len(wanted)), len(wanted), f"decode {name}"):
            decoded[place] = square(middle(next(reading)), size)
            held[int(wanted[place])] = decoded[place]
            prints[int(wanted[place])] = hashlib.sha256(decoded[place].tobytes()).digest()
        repeated = _repetitions(dealt, prints)
        if remark is not None:
            _remark_conflicts(repeated, listing, remark)
        if not repeated:
            break
        dropped |= repeated.keys()
    groups = np.arange(len(listing.labels)) if listing.groups is None else listing.groups
    return {
        role: Split(_stacked(index, held, size, folder), listing.labels[index], groups[index])
        for role, index in dealt.items()
    }


def _why_so_few(listing: Listing, dropped: set[int], size: int) -> str:
    """Say how many images were dropped as repetitions, if any were, and what else is known of the images that were read.

    Raises:
        ValueError: the images are equal since almost nothing is left of their values.
    """
    if not dropped:
        return ""
    first = min(dropped)
    example = listing.paths[first] if listing.paths else f"image {first}"
    were = "was" if len(dropped) == 1 else "were"
    repeated = f"{len(dropped)} {were} dropped as exact repetitions of others at {size} px, such as {example}"
    return f". {'; '.join([repeated, *listing.seen()])}"


def _repetitions(dealt: Mapping[str, Integers], prints: Mapping[int, bytes]) -> dict[int, int]:
    """Images that equal one dealt before them, and that one; victims come first, so a larger training set never replaces one."""
    seen: dict[bytes, int] = {}
    repeated = {}
    for role in (role for role in DEALING_ORDER if role in dealt):
        for index in dealt[role].tolist():
            first = seen.setdefault(prints[index], index)
            if first != index:
                repeated[index] = first
    return repeated


def _remark_conflicts(
    repeated: Mapping[int, int], listing: Listing, remark: Callable[[str, str], None]
) -> None:
    """Report the repetitions that have another label than the image they equal: one of the two labels is wrong."""
    for index, first in repeated.items():
        if listing.labels[index] != listing.labels[first]:
            both = " and ".join(
                f"{listing.paths[image] if listing.paths else f'image {image}'} ({listing.classes[listing.labels[image]]})"
                for image in (first, index)
            )
            remark("images that equal one of another label are dropped", both)


def _stacked(index: Integers, held: Mapping[int, Bytes], size: int, folder: Path | None) -> Bytes:
    images = mapped_bytes((len(index), 3, size, size), folder)
    for place, position in enumerate(index.tolist()):
        images[place] = held[position]
    return images
