"""The scene of every victim image, from the data sets' own files: photograph, patient or subject, as the splits are dealt."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from gradsiege import artifacts
from gradsiege.federated.victims import chosen_victims
from gradsiege.images import IMAGES
from gradsiege.pipeline.cells import Cell
from gradsiege.study import Study

PLACE = ["dataset", "protocol"]


def with_scenes(
    scores: pd.DataFrame, fetched: Iterable[Cell], study: Study, root: Path
) -> pd.DataFrame:
    """Add the column `scene` to the scores: empty for data sets whose prepared images are not here."""
    if scores.empty:
        return scores
    cells = {cell.dataset: cell for cell in fetched}
    places = scores[PLACE].drop_duplicates().itertuples(index=False)
    tables = [
        _scenes(cells[dataset], protocol, study, root)
        for dataset, protocol in places
        if dataset in cells
    ]
    if not tables:
        return scores.assign(scene=pd.Series(pd.NA, index=scores.index, dtype="Int64"))
    known = pd.concat(tables, ignore_index=True).astype({"scene": "Int64"})
    return scores.merge(known, on=[*PLACE, "victim", "image"], how="left")


def _scenes(fetch: Cell, protocol: str, study: Study, root: Path) -> pd.DataFrame:
    """Return the scene of each image of each victim under one protocol."""
    tensors, _ = artifacts.map_tensors(fetch.folder(study, root) / "victims.safetensors", IMAGES)
    per_victim = study.one("protocols", protocol)
    scenes, _ = chosen_victims(
        tensors["groups"].clone(),
        tensors["labels"].clone(),
        study.victims,
        per_victim.images,
        duplicates=per_victim.duplicates,
    )
    rows = [
        {"victim": victim, "image": image, "scene": int(scene)}
        for victim, of_victim in enumerate(scenes.tolist())
        for image, scene in enumerate(of_victim)
    ]
    return pd.DataFrame(rows).assign(dataset=fetch.dataset, protocol=protocol)
