"""The recorded bytes on an emulated processor of Intel's, whose approximate instructions differ from those of the machine.

QEMU computes them exactly, as no processor does, so that a result which rests on one differs here on every machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from gradsiege import arithmetic
from tests.test_arithmetic import NOT_HASHED, PROGRAM, RECORDED

EMULATOR = shutil.which("qemu-x86_64")


@pytest.mark.skipif(EMULATOR is None, reason="qemu-x86_64 is not installed (Debian: qemu-user)")
def test_an_emulated_processor_gives_the_recorded_bytes() -> None:
    kept = {name: value for name, value in os.environ.items() if name not in arithmetic.PORTABLE}
    done = subprocess.run(
        [str(EMULATOR), "-cpu", "Haswell", sys.executable, str(PROGRAM)],
        env=kept,
        capture_output=True,
        text=True,
        check=True,
        timeout=3600,
    )
    there = json.loads(done.stdout)
    if there["torch"] not in RECORDED:
        pytest.skip(f"numbers were recorded with PyTorch {sorted(RECORDED)}, not {there['torch']}")
    assert arithmetic.is_portable(there["arithmetic"])
    assert {name: there[name] for name in there.keys() - NOT_HASHED} == RECORDED[there["torch"]]
