"""The rows of benchmarks that measure whole commands, one JSON object per line, beside the benchmarks."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def begun() -> dict[str, Any]:
    """Return what every row begins with: the time, the machine and its load before the measurement."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.machine(),
        "load": round(os.getloadavg()[0], 1),
    }


def keep(file: str, row: dict[str, Any]) -> None:
    """Print a row, and append it to a file beside this one."""
    print(json.dumps(row))
    with Path(__file__).with_name(file).open("a", encoding="utf-8") as rows:
        rows.write(json.dumps(row) + "\n")


def newest(file: str) -> dict[str, Any]:
    """Return the last row of a file beside this one."""
    lines = Path(__file__).with_name(file).read_text(encoding="utf-8").splitlines()
    row: dict[str, Any] = json.loads(lines[-1])
    return row
