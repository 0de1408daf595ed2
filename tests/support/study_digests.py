"""What every shipped study plans: the number of its cells and one hash over the digests of all of them.

`python tests/support/study_digests.py > tests/study_digests.json`, run from the root of the repository, renews what
`tests/study/test_study_digests.py` compares with. Do that in the commit that changes the science of a cell (a method's VERSION, a
study's settings, a new study file), and in no other: a new hash means that kept results are stale.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from gradsiege.pipeline import cells
from gradsiege.study import load

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "tests" / "study_digests.json"


def files() -> dict[str, Path]:
    """Every shipped study file by its path under `config`."""
    found = sorted((ROOT / "config").rglob("*.yaml"))
    return {
        path.relative_to(ROOT / "config").as_posix(): path
        for path in found
        if path.name != "claims.yaml"
    }


def planned(path: Path) -> dict[str, Any]:
    """Number of cells, and a hash of the sorted lines "stage key digest"."""
    study = cells.remember(load(path))
    lines = sorted(
        f"{stage} {cell.key} {cells.digest(cell, study)}"
        for stage, of_stage in cells.cells(study).items()
        for cell in of_stage
    )
    return {"cells": len(lines), "hash": hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]}


if __name__ == "__main__":
    print(json.dumps({name: planned(path) for name, path in files().items()}, indent=2))
