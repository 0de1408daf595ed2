"""Cells that cannot run before the files of their data sets are supplied."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gradsiege.artifacts import MANIFEST, read_manifest
from gradsiege.datasets.sources.supply import absence
from gradsiege.pipeline.cells import Cell, datasets_of, digest

if TYPE_CHECKING:
    from gradsiege.study import Study


def absent(study: Study, root: Path = Path()) -> dict[str, str]:
    """Return, by id, the reason for every data set of a study that is not prepared and cannot be."""
    reasons = {}
    for item in study.datasets:
        reason = absence(item.name, item.parameters)
        if reason and not done(Cell("fetch", dataset=item.id), study, root):
            reasons[item.id] = reason
    return reasons


def done(cell: Cell, study: Study, root: Path = Path()) -> bool:
    """Return whether a cell was run under the settings of the study."""
    folder = cell.folder(study, root)
    if not (folder / MANIFEST).is_file():
        return False
    return bool(read_manifest(folder).get("digest") == digest(cell, study))


def waits_for(cell: Cell, study: Study, absent: Mapping[str, str]) -> str:
    """Return why data are missing for a cell, or an empty string; `absent` is the result of `absent` for its study."""
    if not absent:
        return ""
    return next((absent[name] for name in datasets_of(cell, study) if name in absent), "")
