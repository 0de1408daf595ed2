"""Time plain Snakemake on 250 cells that compute next to nothing, the cost of a cell itself: `python -m benchmarks.tiny_cells`.

The study runs in a new folder, once; figures are drawn, too. A row of `tiny_cells.jsonl` holds the time of `snakemake --cores 2` from
nothing, and of a second call that finds all done.
"""

from __future__ import annotations

import argparse
import shutil
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
TINY = HOUSE / "tests" / "support" / "tiny.yaml"
SIGMAS = [0.01 * step for step in range(1, 14)]


def study() -> dict[str, Any]:
    """Return the tests' tiny study with 28 federations instead of two, each attacked four times."""
    raw: dict[str, Any] = yaml.safe_load(TINY.read_text(encoding="utf-8"))
    defenses = ["none", {"name": "gaussian", "sweep": {"sigma": SIGMAS}}]
    return raw | {"study": "tiny_cells", "seeds": [0, 1], "defenses": defenses}


def lay_out(root: Path) -> Path:
    """Copy the workflow below `root`, write the study beside it, and return its file."""
    for name in ("workflow", "profiles", "config"):
        shutil.copytree(HOUSE / name, root / name)
    shutil.copy(HOUSE / "Snakefile", root)
    file = root / "tiny_cells.yaml"
    file.write_text(yaml.safe_dump(study(), sort_keys=False), encoding="utf-8")
    return file


def seconds(root: Path, file: Path) -> float:
    """Run the study in its folder, and return the seconds."""
    program = Path(sys.executable).with_name("snakemake")
    begin = time.perf_counter()
    command = [program, "--cores", "2", "--quiet", "--config", f"study={file.name}"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the study failed:\n{done.stderr}")
    return round(time.perf_counter() - begin, 1)


def main() -> None:
    """Measure once; print the row and keep it."""
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        file = lay_out(root)
        row = begun() | {
            "cells": sum(map(len, cells(load(file)).values())),
            "seconds": seconds(root, file),
            "again": seconds(root, file),
        }
    keep("tiny_cells.jsonl", row)


if __name__ == "__main__":
    main()
