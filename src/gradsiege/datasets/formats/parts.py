"""Official parts of a source, as folders or tables name them, and the part that serves as the test part."""

from __future__ import annotations

import re
from collections.abc import Iterable

NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def part_of(name: str) -> str:
    """Return ``train``, ``validation`` or ``test``, or an empty string for any other name.

    >>> part_of("Val"), part_of("cat")
    ('validation', '')
    """
    return NAMES.get(name.casefold(), "")


def part_in(name: str) -> str:
    """Return the part that a name contains as a word of its own, or an empty string if it contains none, or several.

    >>> [part_in(name) for name in ("training_set", "seg_train", "val2017", "Test data", "testImages")]
    ['train', 'train', 'validation', 'test', 'test']
    >>> part_in("trainers"), part_in("train_test")
    ('', '')
    """
    words = re.findall("[A-Z]?[a-z]+|[A-Z]+", name)
    parts = {part_of(word) for word in words} - {""}
    return parts.pop() if len(parts) == 1 else ""


def tested_parts(names: Iterable[str], place: str) -> tuple[dict[str, bool], str]:
    """Return whether each part belongs to the test part, and a sentence that says so.

    A validation part serves as the test part where there is no other, and belongs to the training part where there is.

    Args:
        names: parts as the source calls them; `part_of` or `part_in` knows each.
        place: named in errors.

    Raises:
        ValueError: when there is no training part, or one part has two names.

    >>> tested_parts(["train", "val"], "mine")
    ({'train': False, 'val': True}, 'Parts: train is the training part, val the test part.')
    >>> tested_parts(["Train", "val", "test"], "mine")[1]
    'Parts: Train and val are the training part, test the test part.'
    """
    called: dict[str, str] = {}
    for name in names:
        other = called.setdefault(part_of(name) or part_in(name), name)
        if other != name:
            raise ValueError(f"{place} has {other} and {name}, two names of one part; join them")
    if "train" not in called:
        raise ValueError(f"{place} has {' and '.join(called.values())}, but no training part")
    testing = "test" if "test" in called else "validation"
    tested = {name: part == testing for part, name in called.items()}
    training = " and ".join(sorted(name for name, held in tested.items() if not held))
    verb = "are" if sum(not held for held in tested.values()) > 1 else "is"
    end = f", {called[testing]} the test part" if testing in called else "; there is no test part"
    return tested, f"Parts: {training} {verb} the training part{end}."
