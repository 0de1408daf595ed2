"""Time plain Snakemake on 250 cells that compute next to nothing, the cost of a cell itself: `python -m benchmarks.tiny_cells`.

The study runs in a new folder, once; figures are drawn, too. A row of `tiny_cells.jsonl` holds the time of `snakemake --cores 2` from
nothing, and of a second call that finds all done.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from gradsiege.pipeline.cells import cells
from gradsiege.study import load

HOUSE = Path(__file__).parents[1]
ROWS = Path(__file__).with_name("tiny_cells.jsonl")
SIGMAS = [0.01 * step for step in range(1, 14)]


def study() -> dict[str, Any]:
    """Return the study file: 28 federations of a LeNet on digits of 16 px, each attacked four times with five iterations."""
    counts = {"train": 48, "test": 20, "aux": 40, "public": 10, "tune": 2, "victims": 4}
    return {
        "study": "tiny_cells",
        "victims": 2,
        "seeds": [0, 1],
        "datasets": [{"name": "digits", "size": 16, "counts": counts}],
        "models": [{"name": "lenet", "parameters": {"channels": 4}}],
        "defenses": ["none", {"name": "gaussian", "sweep": {"sigma": SIGMAS}}],
        "federation": {
            "clients": 4,
            "clients_per_round": 2,
            "rounds": 3,
            "early_round": 1,
            "batch_size": 8,
        },
        "training_stages": ["untrained", "late"],
        "protocols": ["fedsgd"],
        "threat_models": [{"id": "labels_inferred"}],
        "priors": [{"name": "autoencoder", "parameters": {"epochs": 2}}],
        "attacks": [
            {"name": "inverting_gradients", "iterations": 5},
            {"name": "gi_pip", "iterations": 5, "prior": "autoencoder"},
        ],
        "figures": ["gallery", "privacy_utility", "table_defenses"],
    }


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
        row = {
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": platform.machine(),
            "cells": sum(map(len, cells(load(file)).values())),
            "load": round(os.getloadavg()[0], 1),
            "seconds": seconds(root, file),
            "again": seconds(root, file),
        }
    print(json.dumps(row))
    with ROWS.open("a", encoding="utf-8") as rows:
        rows.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
