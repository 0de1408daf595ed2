"""Attacks: what a curious server can do with what it sees.

`gradsiege.attacks.InvertingGradients(iterations=4000)(seen)` runs one. `engine` holds the hot loop, `recipes` one attack per
file, `counters` what an informed attacker changes. Nothing in here may import data sets, defenses, the federation or the
metrics: the truth is out of reach.
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
