"""One attack a file: its paper, its equation, its published constants."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

    from gradsiege.attacks.knowledge import Knowledge
    from gradsiege.attacks.recipe import Recipe


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"gradsiege.attacks.recipes.{name}")


def learner(name: str) -> ModuleType | None:
    """Return the module of an attack that learns from simulated clients, `Parameters` and `learn`; None for a recipe."""
    own = _module(name)
    return own if hasattr(own, "learn") else None


def build(
    name: str, parameters: dict[str, Any], arm: str, iterations: int, knowledge: Knowledge
) -> Recipe:
    """Return the recipe of a study file's entry, parameters already resolved."""
    own = _module(name)
    recipe: Recipe = own.build(own.Parameters(**parameters), arm, iterations, knowledge)
    return recipe
