"""No defense: the update is uploaded as it is."""

from __future__ import annotations

from dataclasses import dataclass

from gradsiege.defenses.base import Defense

VERSION = 1


@dataclass(frozen=True)
class NoDefense(Defense):
    """Upload the update as it is."""

    name = "none"
