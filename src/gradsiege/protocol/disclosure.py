"""The disclosure of a defense that a user states: checked where it is given, not where an attack first reads it."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from gradsiege import catalogue
from gradsiege.errors import ModelError, StudyError
from gradsiege.ranges import shown

HOW = "give what the defense says of itself, such as `gradsiege.defenses.Gaussian(sigma=0.1).disclosure()`"

# Share of equal letters from which on a name is taken for a slip of the pen, such as gausian for gaussian.
ALMOST = 0.85


def checked(disclosure: Any) -> dict[str, Any] | None:
    """Return a disclosure: the name of a defense as ``defense``, and its public parameters; None stays None.

    A defense that no catalogue knows may say what it likes of itself.

    >>> checked({"defense": "gaussian", "sigma": 0.5})
    {'defense': 'gaussian', 'sigma': 0.5}

    Raises:
        ModelError: it is not a mapping, names no defense, or lacks a parameter of the defense or has one out of its range.
    """
    if disclosure is None:
        return None
    if not isinstance(disclosure, Mapping):
        raise ModelError(f"disclosure is {shown(disclosure)}; {HOW}")
    name = disclosure.get("defense")
    if not isinstance(name, str):
        raise ModelError(f"disclosure names no defense: 'defense' is {shown(name)}; {HOW}")
    entry = catalogue.entries("defenses").get(name)
    if entry is None:
        return dict(disclosure)
    for key in disclosure:
        close = get_close_matches(str(key), entry.parameters, n=1, cutoff=ALMOST)
        # A defense may say more of itself than its parameters, such as what follows from them.
        if close and key not in entry.parameters:
            raise ModelError(
                f"disclosure of {name} holds {key!r}, which is none of its parameters; did you mean {close[0]!r}?"
            )
    missing = [parameter for parameter in entry.parameters if parameter not in disclosure]
    if missing:
        raise ModelError(f"disclosure of {name} lacks {', '.join(missing)}; {HOW}")
    stated = {parameter: disclosure[parameter] for parameter in entry.parameters}
    try:
        return {**disclosure, **entry.validate(stated, "disclosure")}
    except StudyError as error:
        raise ModelError(str(error)) from None
