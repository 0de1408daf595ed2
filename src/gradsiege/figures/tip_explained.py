"""Which explained cells the figures on TIP's interpretability show, and how they are named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gradsiege.figures.data import CELL_KEY, Explanation, StudyData, in_stage_order
from gradsiege.figures.labels import label

NOTHING = "the study explains no victim (set `explained`), or none was observed yet."
MOMENTS = ("before", "after")
RULE = "Each defense at the latest training stage, first protocol, lowest seed."


@dataclass(frozen=True)
class Explained:
    """One cell: key and ids, what was kept of its first victims, and two lines that name it."""

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
    """One cell a data set, model and defense, in the order of the study file, chosen by `RULE`."""
    cells = [
        dict(zip(CELL_KEY, key.split("/"), strict=True)) | {"key": key} for key in data.explanations
    ]
    sections = {"dataset": "datasets", "model": "models", "defense": "defenses"}
    ranks = {
        field: data.in_order(section, [cell[field] for cell in cells])
        for field, section in (sections | {"protocol": "protocols"}).items()
    }
    ranks["training_stage"] = in_stage_order(cell["training_stage"] for cell in cells)[::-1]

    def rank(cell: dict[str, str]) -> list[int]:
        order = ("dataset", "model", "defense", "training_stage", "protocol")
        return [ranks[field].index(cell[field]) for field in order] + [int(cell["seed"][4:])]

    first: dict[tuple[str, ...], dict[str, str]] = {}
    for cell in sorted(cells, key=rank):
        first.setdefault(tuple(cell[field] for field in sections), cell)
    return [
        Explained(
            cell["key"],
            {field: cell[field] for field in CELL_KEY},
            data.explanations[cell["key"]],
            (
                label(cell["defense"], data.name_of("defenses", cell["defense"])),
                f"{label(cell['dataset'])}, {label(cell['model'])}, {cell['training_stage']}",
            ),
        )
        for cell in first.values()
    ]
