"""Writers of every sort of artifact, and a finished folder to read and to damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from gradsiege.artifacts import (
    read_json,
    read_table,
    read_tensors,
    write_json,
    write_manifest,
    write_table,
    write_tensors,
    write_text,
)

LARGE = 100_000


WRITERS: dict[str, Callable[[Path], None]] = {
    "json": lambda path: write_json(path, list(range(LARGE))),
    "text": lambda path: write_text(path, "x" * 10 * LARGE),
    "table": lambda path: write_table(
        path, pd.DataFrame({"x": np.random.default_rng(0).random(LARGE)})
    ),
    "tensors": lambda path: write_tensors(path, {"x": torch.rand(LARGE)}, "kind"),
}


def reseal(folder: Path) -> None:
    """Let the manifest agree with whatever lies there now."""
    write_manifest(folder, {"digest": "d"}, ["a.safetensors", "b.parquet", "c.json"])


def read(path: Path) -> object:
    """Read a file by its ending."""
    if path.suffix == ".safetensors":
        return read_tensors(path, "thing")
    return read_table(path) if path.suffix == ".parquet" else read_json(path)
