"""The pages of the kept studies, and how numbers stand in them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "docs" / "results"
STUDIES = sorted(
    folder.name for folder in KEPT.iterdir() if folder.is_dir() and folder.name[0] != "_"
)
DECIMAL = re.compile(r"(?<![\w.])-?\d+\.\d+(?![\w.])")
