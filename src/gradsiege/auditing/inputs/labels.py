"""Labels as a user writes them: whole numbers are the network's classes, and text is numbered in alphabetical order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradsiege.auditing.inputs.selection import Pictures
from gradsiege.errors import ModelError

if TYPE_CHECKING:
    from gradsiege.datasets.preparation.listing import Listing

# Classes that a sentence lists.
SHOWN = 12


def named(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the names of classes, or nothing where all of them are whole numbers.

    >>> named(["1", "4"]), named(["4", "cat"])
    ((), ('4', 'cat'))
    """
    return () if all(name.isdecimal() for name in classes) else tuple(classes)


def refuse_numbers(listing: Listing) -> None:
    """Refuse labels that are numbers, but not all whole and at least 0: no network has such a class.

    Raises:
        ValueError: names the first picture of such a label, and the label as it is written.
    """
    if not all(map(_is_number, listing.classes)):
        return
    for path, label in zip(listing.paths, listing.labels.tolist(), strict=True):
        written = listing.classes[label]
        if not written.isdecimal():
            raise ValueError(
                f"{path} has the label {written!r}; labels that are numbers are the network's classes, so give whole numbers from 0"
            )


def in_words(classes: Sequence[str]) -> str:
    """Return how text was numbered, as a sentence.

    >>> in_words(["cat", "dog"])
    'labels in text are numbered in alphabetical order: 0 is cat, 1 is dog'
    """
    listed = [f"{number} is {name}" for number, name in enumerate(classes[:SHOWN])]
    more = ["and so on"] if len(classes) > SHOWN else []
    return "labels in text are numbered in alphabetical order: " + ", ".join([*listed, *more])


def refuse_classes(pictures: Pictures, count: int, place: str) -> None:
    """Refuse labels that are not classes of a network of `count` classes; `place`: option and file.

    Raises:
        ModelError: names the first picture of such a label, and the label as it is written.
    """
    if pictures.labels is None:
        return
    if len(pictures.classes) > count:
        raise ModelError(
            f"{place} has labels of {len(pictures.classes)} kinds, such as {pictures.classes[0]!r}, and the network has {count} "
            "classes; name a network of as many classes, or leave some out"
        )
    for name, label in zip(pictures.names, pictures.labels.tolist(), strict=True):
        if not 0 <= label < count:
            raise ModelError(
                f"{place}: {name} has the label {label}, and the network has {count} classes; give labels from 0 to {count - 1}"
            )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
