"""How much memory of its own a process holds; pages of files that are mapped are not counted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

STATUS = Path("/proc/self/status")
needs_linux = pytest.mark.skipif(not STATUS.exists(), reason="reads /proc, which only Linux has")


def resident() -> float:
    """MB of anonymous memory."""
    found = re.search(r"RssAnon:\s+(\d+) kB", STATUS.read_text())
    assert found
    return int(found[1]) / 1024
