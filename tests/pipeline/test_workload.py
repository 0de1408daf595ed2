"""Work of a study: cells that share what is loaded and compiled for them."""

from __future__ import annotations

from typing import Any

from gradsiege.pipeline import workload
from gradsiege.pipeline.cells import Cell, cells
from gradsiege.study import Study, parse


def of(study: Study, attack: str, defense: str) -> Cell:
    """A cell of an attack on a defense."""
    return next(
        cell for cell in cells(study)["attack"] if (cell.attack, cell.defense) == (attack, defense)
    )


def test_attacks_with_a_counter_are_alike_on_one_defense_alone(tiny_raw: dict[str, Any]) -> None:
    """Two strengths and no defense; an objective with a counter holds the numbers of the defense."""
    tiny_raw["defenses"] = ["none", {"name": "gaussian", "sweep": {"sigma": [0.01, 0.1]}}]
    tiny_raw["training_stages"] = ["untrained", "late"]
    tiny_raw["threat_models"] = [{"id": "blind"}, {"id": "informed", "disclosure": True}]
    tiny_raw["attacks"] = [
        {
            "name": "inverting_gradients",
            "iterations": 3,
            "counters": ["none", "gaussian.likelihood"],
        }
    ]
    study = parse(tiny_raw)
    blind = of(study, "inverting_gradients", "gaussian-sigma0.1")
    strength = of(study, "inverting_gradients-gaussian.likelihood", "gaussian-sigma0.1")
    per_defense = sum(cell.defense == "none" for cell in cells(study)["attack"])
    assert workload.attacks_alike(blind, study) == 3 * per_defense
    assert workload.attacks_alike(strength, study) == per_defense
