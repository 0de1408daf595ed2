"""Attacks of an honest-but-curious server on the updates that it receives.

`gradsiege.attacks.InvertingGradients(iterations=4000)(seen)` runs one. `engine` holds the hot loop, `recipes` one attack per
file, `counters` the changes that an informed attacker makes. This package must not import data sets, defenses, the federation or
metrics, so that it cannot reach the truth.
"""

from __future__ import annotations

from typing import Any

from gradsiege import catalogue


def __getattr__(name: str) -> Any:
    """Import an attack by the name of its class."""
    return catalogue.attribute("attacks", name)


def __dir__() -> list[str]:
    """Name every attack."""
    return catalogue.classes("attacks")
