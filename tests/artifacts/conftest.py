"""A finished folder that a test may damage."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from sealed_files import reseal

from gradsiege.artifacts import write_json, write_table, write_tensors


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A finished folder with one file of each sort."""
    folder = tmp_path / "cell"
    write_tensors(folder / "a.safetensors", {"x": torch.arange(6.0)}, "thing", {"note": [1, None]})
    write_table(folder / "b.parquet", pd.DataFrame({"n": [1, 2]}))
    write_json(folder / "c.json", {"k": "ü"})
    reseal(folder)
    return folder
