"""The choice and the names of the explained cells in the figures on TIP's interpretability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gradsiege.report.chosen_cells import one_per_defense
from gradsiege.report.data import CELL_KEY, Explanation, StudyData
from gradsiege.report.labels import label

NOTHING = "the study explains no victim (set `explained`), or none was observed yet."
MOMENTS = ("before", "after")
RULE = "Each defense at the latest training stage, first protocol, lowest seed."


@dataclass(frozen=True)
class Explained:
    """One cell: key and ids, the stored diagnostics of its first victims, and two lines that name it."""

    key: str
    cell: Mapping[str, str]
    arrays: Explanation
    lines: tuple[str, str]

    @property
    def ids(self) -> dict[str, str | int]:
        """The ids as they stand in score tables, the seed a number."""
        return {**self.cell, "seed": int(self.cell["seed"].removeprefix("seed"))}

    @property
    def victims(self) -> int:
        """Number of explained victims."""
        return len(self.arrays["map.before"])

    def layers(self) -> list[str]:
        """Names of the convolutions, in the order of the network."""
        return [name.removeprefix("change.") for name in self.arrays if name.startswith("change.")]


def explained_cells(data: StudyData) -> list[Explained]:
    """One cell per data set, model and defense, in the order of the study file, chosen by `RULE`."""
    keys = one_per_defense(data, data.explanations, latest=True)
    return [_explained(data, key) for key in keys]


def _explained(data: StudyData, key: str) -> Explained:
    cell = dict(zip(CELL_KEY, key.split("/"), strict=True))
    defense = label(cell["defense"], data.name_of("defenses", cell["defense"]))
    where = f"{label(cell['dataset'])}, {label(cell['model'])}, {cell['training_stage']}"
    return Explained(key, cell, data.explanations[key], (defense, where))
