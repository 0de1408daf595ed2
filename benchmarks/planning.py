"""Time Snakemake's dry run of a paper's whole matrix, over 10,000 cells, and note its memory: `python -m benchmarks.planning`.

The matrix is that of `config/paper/tip.yaml`. Cells of a data set that nobody supplied are left out of a plan, so each of its
three data sets stands here for packaged photographs of a size of their own. Nothing is computed. Rows go to `planning.jsonl`.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.kept import begun, keep
from gradsiege.pipeline.cells import cells
from gradsiege.study import load

HOUSE = Path(__file__).parents[1]
MATRIX = HOUSE / "config" / "paper" / "tip.yaml"
SIZES = (32, 48, 64)
COUNTS = {"train": 400, "test": 200, "aux": 250, "public": 100, "tune": 8, "victims": 50}
SHARD_MINUTES = 60


def matrix() -> dict[str, Any]:
    """Return the paper's study with packaged photographs instead of its data sets."""
    raw: dict[str, Any] = yaml.safe_load(MATRIX.read_text(encoding="utf-8"))
    raw["study"] = "planning"
    raw["datasets"] = [
        {"id": f"photos{size}", "name": "photos", "size": size, "counts": COUNTS} for size in SIZES
    ]
    return raw


def measure(file: Path) -> dict[str, float]:
    """Plan the study in a process of its own; return its times and its largest memory."""
    chosen = [f"study={file}", f"shard_minutes={SHARD_MINUTES}"]
    command = [Path(sys.executable).with_name("snakemake"), "--dry-run", "--quiet", "--config"]
    begin = time.perf_counter()
    done = subprocess.run([*command, *chosen], cwd=HOUSE, capture_output=True, text=True)
    seconds = time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(f"the plan failed:\n{done.stderr}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": round(seconds, 1),
        "processor seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak MiB": round(used.ru_maxrss / 1024),
    }


def main() -> None:
    """Measure once; print the row and keep it."""
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "planning.yaml"
        file.write_text(yaml.safe_dump(matrix(), sort_keys=False), encoding="utf-8")
        planned = sum(map(len, cells(load(file)).values()))
        row = begun() | {"cells": planned} | measure(file)
    keep("planning.jsonl", row)


if __name__ == "__main__":
    main()
