"""One attack a file: its paper, its equation, its published constants."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradsiege.attacks.engine.recipe import Knowledge, Recipe


def build(
    name: str, parameters: dict[str, Any], arm: str, iterations: int, knowledge: Knowledge
) -> Recipe:
    """Return the recipe of a study file's entry, parameters already resolved."""
    module = importlib.import_module(f"gradsiege.attacks.recipes.{name}")
    recipe: Recipe = module.build(module.Parameters(**parameters), arm, iterations, knowledge)
    return recipe
