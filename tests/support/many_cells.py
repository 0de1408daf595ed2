"""A thousand finished cells in the true format, made from the few of a study that has really run."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from gradsiege import artifacts
from gradsiege.pipeline.cells import Cell, cells, remember, resolved
from gradsiege.study import Study, parse

TABLES = {"federate": "utility.parquet", "score": "scores.parquet"}
# Twenty noise levels, ten seeds: 200 federations, each attacked at two stages under two protocols, and 800 scores.
LEVELS, SEEDS = 20, 10


def many_cells(raw: dict[str, Any], done: tuple[Study, Path], root: Path, name: str) -> Study:
    """Write the federations and scores of a large study under `root`, each a copy of the small study's first one.

    raw: the small study as plain data; done: the same, finished, and its root. Rows and manifests name the new cells, with
    their own digests; the jobs come one second after the other.
    """
    small, source = done
    large = copy.deepcopy(raw) | {"study": name, "seeds": [*range(SEEDS)]}
    sigmas = [round(0.001 * (level + 1), 3) for level in range(LEVELS)]
    large["defenses"] = [{"name": "gaussian", "sweep": {"sigma": sigmas}}]
    large["protocols"] = ["fedsgd", {"name": "fedsgd", "id": "again"}]
    study = remember(parse(large))
    templates = {stage: cells(small)[stage][0] for stage in TABLES}
    number = 0
    for stage, template in templates.items():
        table = artifacts.read_table(template.folder(small, source) / TABLES[stage])
        manifest = artifacts.read_manifest(template.folder(small, source))
        for cell in cells(study)[stage]:
            number += 1
            _write(cell, study, root, table.copy(), manifest, number)
    return study


def _write(
    cell: Cell, study: Study, root: Path, table: Any, manifest: dict[str, Any], number: int
) -> None:
    known = resolved(cell, study)
    for field, value in (known["ids"] | {"study": study.study}).items():
        table[field] = value
    folder = cell.folder(study, root)
    artifacts.write_table(folder / TABLES[cell.stage], table)
    body = manifest | known
    body |= {key: manifest[key] + number for key in ("started", "ended")}
    body.pop("files")
    artifacts.write_manifest(folder, body, [TABLES[cell.stage]])
