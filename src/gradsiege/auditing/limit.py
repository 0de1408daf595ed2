"""The limit of `--fail-above`, which turns an audit into a check of continuous integration."""

from __future__ import annotations

import math
import re

from gradsiege.errors import UsageError

WRITTEN = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(?:dB)?\s*", re.IGNORECASE)


def decibels(text: str) -> float:
    """Return the number of ``20dB`` or ``20``.

    >>> decibels("20dB"), decibels("17.5")
    (20.0, 17.5)

    Raises:
        UsageError: something else.
    """
    match = WRITTEN.fullmatch(text)
    if match is None or not math.isfinite(float(match[1])):
        raise UsageError(f"--fail-above is {text!r}; give a number of decibels, such as 20dB")
    return float(match[1])
