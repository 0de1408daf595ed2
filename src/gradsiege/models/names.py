"""Names of tensors: a network of the user's is held as ``body``, and messages call its tensors by the user's names."""

from __future__ import annotations

BODY = "body."


def given_name(name: str) -> str:
    """Return the name that the user's network has for a tensor or a layer.

    >>> given_name("body.fc.weight"), given_name("fc.weight")
    ('fc.weight', 'fc.weight')
    """
    return name.removeprefix(BODY)
