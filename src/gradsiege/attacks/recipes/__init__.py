"""One attack per file: its paper, its equation, its published constants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradsiege import catalogue

if TYPE_CHECKING:
    from gradsiege.attacks.base import Attack
    from gradsiege.attacks.knowledge import Knowledge
    from gradsiege.attacks.recipe import Recipe


def attack(name: str, parameters: dict[str, Any], arm: str = "faithful", **budget: Any) -> Attack:
    """Return the attack of a study file's entry, parameters already resolved.

    Args:
        name, parameters, arm: as in the study file.
        budget: fields that all attacks share, such as `iterations`.
    """
    entry = catalogue.entries("attacks")[name]
    more = {"arm": arm} if len(entry.arms) > 1 else {}
    made: Attack = catalogue.implementation(entry)(**parameters, **more, **budget)
    return made


def build(
    name: str, parameters: dict[str, Any], arm: str, iterations: int, knowledge: Knowledge
) -> Recipe:
    """Return the recipe of a study file's entry, parameters already resolved."""
    return attack(name, parameters, arm, iterations=iterations).recipe(knowledge)
