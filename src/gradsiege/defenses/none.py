"""No defense: the update is uploaded as it is."""

from __future__ import annotations

from dataclasses import dataclass

from gradsiege.defenses.base import Defense
from gradsiege.ranges import Checked

VERSION = 1


@dataclass(frozen=True)
class Parameters(Checked):
    """No parameters."""


def build(parameters: Parameters, arm: str) -> Defense:
    """Return the defense that does nothing."""
    return Defense()
