"""All measurements that need a GPU, in one command of less than 25 minutes: engines on five networks, then config/small.yaml.

    make benchmark-gpu            # measure; the rows of the engines go to rows.jsonl
    python -m benchmarks.gpu --plan    # say what would be measured; needs no GPU

Every part has its share of the time. A part that no longer fits is not begun, and the record says so. The study is stopped when
the time is up: its finished cells stay, and `make reproduce STUDY=config/small.yaml` goes on from there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.cases import Case
from benchmarks.engines import append, heading, rows_of

HOUSE = Path(__file__).parents[1]
STUDY = HOUSE / "config" / "small.yaml"
MINUTES = 24.0
# Seconds that the study gets to end its jobs, before they are killed.
GRACE = 20


@dataclass(frozen=True)
class EngineRun:
    """All engines on one network.

    Attributes:
        case: network and victims.
        minutes: that it may take, first evaluations included.
        compiled: whether to compile a program, which takes minutes.
        seconds: of the measurement itself.
    """

    case: Case
    minutes: float
    compiled: bool = False
    seconds: float = 15.0

    def __str__(self) -> str:
        """Say what is measured."""
        with_it = ", with the compiled engine" if self.compiled else ""
        return f"engines on {self.case.title}, {self.case.victims} victims{with_it}"


RUNS = (
    EngineRun(Case("lenet", 64), 3, compiled=True),
    EngineRun(Case("convnet", 64), 3, compiled=True),
    EngineRun(Case("resnet18", 64), 1.5),
    EngineRun(Case("resnet18", 64, size=64), 2),
    EngineRun(Case("vit_small", 64), 1.5),
)


def plan(runs: Sequence[EngineRun], minutes: float) -> list[str]:
    """Return a line for every part, with its minutes.

    >>> plan([EngineRun(Case("lenet", 64), 3)], 10)[0]
    '3 min: engines on lenet, 64 victims'
    """
    lines = [f"{run.minutes:g} min: {run}" for run in runs]
    left = minutes - sum(run.minutes for run in runs)
    return [*lines, f"{left:g} min: the study config/{STUDY.name}, as many cells as fit"]


def measure(
    runs: Sequence[EngineRun], device: str, end: float
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the rows of the runs that fit before `end` [s, monotonic], and what was not run, with the reason."""
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    for run in runs:
        if time.monotonic() + 60 * run.minutes > end:
            left_out.append(f"{run}: no time left")
            continue
        try:
            measured = rows_of(run.case, device, run.seconds, run.compiled)
        except torch.OutOfMemoryError as error:
            left_out.append(f"{run}: {error}")
            continue
        for row in measured:
            print(row, flush=True)
        rows += measured
    return rows, left_out


def study(command: Sequence[str], end: float, results: Path) -> dict[str, Any]:
    """Run a study until `end` [s, monotonic]; return its seconds, whether it ended, and its finished attacks."""
    start = time.monotonic()
    environment = os.environ | {"GRADSIEGE_DEVICE": "cuda"}
    process = subprocess.Popen(command, cwd=HOUSE, env=environment)
    try:
        code: int | None = process.wait(timeout=max(end - start, 0))
    except subprocess.TimeoutExpired:
        code = None
        process.terminate()
        try:
            process.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return {
        "seconds": round(time.monotonic() - start, 1),
        "ended": code == 0,
        "exit": code,
        "attacks": len(list(results.rglob("reconstructions.safetensors"))),
    }


def main() -> None:
    """Check for a GPU, say what will be done, and do it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--plan", action="store_true", help="say what would be done, and end")
    parser.add_argument("--minutes", type=float, default=MINUTES)
    options = parser.parse_args()
    lines = "\n".join(plan(RUNS, options.minutes))
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    print(f"GPU: {gpu or 'none'}; {options.minutes:g} minutes\n{lines}", flush=True)
    if options.plan:
        return
    if gpu is None:
        raise SystemExit("nothing was measured: this machine has no GPU that PyTorch can use")
    end = time.monotonic() + 60 * options.minutes
    rows, left_out = measure(RUNS, "cuda", end)
    record = heading("cuda", torch.get_num_threads()) | {"engines": rows, "not run": left_out}
    snakemake = str(Path(sys.executable).with_name("snakemake"))
    command = [snakemake, "--cores", "2", "--config", f"study=config/{STUDY.name}"]
    record["study"] = study(command, end - GRACE, HOUSE / "results" / STUDY.stem)
    print(record["study"], left_out)
    append(record)


if __name__ == "__main__":
    main()
