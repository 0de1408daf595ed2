"""Client-side defenses, one file each over one small base; `build` makes one by name."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradsiege.defenses.base import Defense


def build(name: str, parameters: dict[str, Any], arm: str = "faithful") -> Defense:
    """Return the defense of a study file's entry, parameters already resolved."""
    module = importlib.import_module(f"gradsiege.defenses.{name}")
    defense: Defense = module.build(module.Parameters(**parameters), arm)
    return defense
