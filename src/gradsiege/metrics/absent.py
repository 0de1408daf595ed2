"""The value of a metric that could not be computed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Absent:
    """A reason instead of a number.

    It has no numeric value, so that a mean, a comparison or a table fails instead of silently
    turning a missing metric into 0 or NaN.

    >>> str(Absent("no trunk weights"))
    'absent: no trunk weights'
    >>> float(Absent("no trunk weights"))
    Traceback (most recent call last):
        ...
    TypeError: float() argument must be a string or a real number, not 'Absent'
    """

    reason: str

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise ValueError("Absent needs a reason: say what is missing and how to supply it")

    def __str__(self) -> str:
        return f"absent: {self.reason}"
