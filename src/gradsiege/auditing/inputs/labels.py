"""Labels as a user writes them: whole numbers are the network's classes, and text is numbered in alphabetical order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from gradsiege.auditing.inputs.selection import Pictures
from gradsiege.errors import ModelError

if TYPE_CHECKING:
    from gradsiege.datasets.preparation.listing import Listing

# Classes that a sentence lists.
SHOWN = 12
# Labels from here on are slips: the largest label decides how large a network's head is made.
MOST_CLASSES = 100_000


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
        if not written.isdecimal() or len(written.lstrip("0")) > len(str(MOST_CLASSES - 1)):
            told = written if len(written) < 30 else f"{written[:30]}..."
            raise ValueError(
                f"{path} has the label {told!r}; labels that are numbers are the network's classes, so give whole numbers from 0 to "
                f"{MOST_CLASSES - 1}"
            )


def in_words(classes: Sequence[str]) -> str:
    """Return how text was numbered, as a sentence.

    >>> in_words(["cat", "dog"])
    'labels in text are numbered in alphabetical order: 0 is cat, 1 is dog'
    """
    listed = [f"{number} is {name}" for number, name in enumerate(classes[:SHOWN])]
    more = ["and so on"] if len(classes) > SHOWN else []
    return "labels in text are numbered in alphabetical order: " + ", ".join([*listed, *more])


def numbered_together(private: Pictures, public: Pictures) -> tuple[Pictures, Pictures]:
    """Return the user's pictures and the attacker's with one number for each name of a class, in alphabetical order of all names.

    Either source alone may lack a class of the network, so that its own alphabet would shift the numbers. Labels that are numbers stay.
    """
    if not (private.classes and public.classes):
        return private, public
    names = tuple(sorted({*private.classes, *public.classes}))
    return _renumbered(private, names), _renumbered(public, names)


def _renumbered(pictures: Pictures, names: tuple[str, ...]) -> Pictures:
    numbers = torch.tensor([names.index(name) for name in pictures.classes])
    labels = None if pictures.labels is None else numbers[pictures.labels]
    return replace(pictures, labels=labels, classes=names)


def gap(pictures: Pictures, count: int) -> list[str]:
    """Return a remark where the largest label decided on `count` classes of a network, and some have no picture.

    A label that is a slip makes such a network. Sparse labels are sound, so that it is a remark and not an error.
    """
    labels = pictures.labels
    if labels is None or pictures.classes or int(labels.max()) + 1 != count:
        return []
    empty = count - len(labels[labels >= 0].unique())
    if not empty:
        return []
    name = pictures.names[int(labels.argmax())]
    return [
        f"the network has {count} classes, by the largest label, {count - 1} ({name}); {empty} of them "
        f"{'has' if empty == 1 else 'have'} no picture: give --classes if that label is a slip"
    ]


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
