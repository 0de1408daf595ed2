"""The choice of the cells with pictures that a figure shows: one per data set, model and defense."""

from __future__ import annotations

from collections.abc import Iterable

from gradsiege.report.data import CELL_KEY, StudyData, in_stage_order


def one_per_defense(data: StudyData, keys: Iterable[str], latest: bool = False) -> list[str]:
    """Return the key of one cell per data set, model and defense, in the order of the study file.

    The chosen cell has the earliest training stage (with `latest` the latest one), the first protocol and the lowest seed.
    """
    cells = [dict(zip(CELL_KEY, key.split("/"), strict=True)) | {"key": key} for key in keys]
    sections = {"dataset": "datasets", "model": "models", "defense": "defenses"}
    ranks = {
        field: data.in_order(section, [cell[field] for cell in cells])
        for field, section in (sections | {"protocol": "protocols"}).items()
    }
    stages = in_stage_order(cell["training_stage"] for cell in cells)
    ranks["training_stage"] = stages[::-1] if latest else stages

    def rank(cell: dict[str, str]) -> list[int]:
        order = ("dataset", "model", "defense", "training_stage", "protocol")
        return [ranks[field].index(cell[field]) for field in order] + [int(cell["seed"][4:])]

    first: dict[tuple[str, ...], str] = {}
    for cell in sorted(cells, key=rank):
        first.setdefault(tuple(cell[field] for field in sections), cell["key"])
    return list(first.values())
