"""Time the attack engines against the textbook loop, in one process, interleaved; append the rows to `rows.jsonl`.

    make benchmark

The textbook loop is what nearly all released code does: one victim after the other, `autograd.grad` with
``create_graph=True``, then ``backward()``. Every number is a median, of processor times on a CPU; compare ratios, not times: machines
are noisy.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.cases import Case, case
from benchmarks.clocks import (
    device_name,
    large_convolution,
    medians,
    operations,
    peak,
    processor_seconds,
)
from benchmarks.textbook import textbook
from gradsiege.arithmetic import make_portable
from gradsiege.attacks.engine.engines import ENGINES
from gradsiege.attacks.engine.objective import Evaluate, Target
from gradsiege.attacks.variables import Variables

ROWS = Path(__file__).with_name("rows.jsonl")
TEXTBOOK = "textbook loop"
CEILING = "large convolution"
# The counter sees no operation of a replayed or compiled engine, which does what its original does.
COUNTED_AS = {"cuda_graph": "factored", "cuda_graph_vmap": "vmap", "compiled": "vmap"}
# What an iteration costs at least: one forward pass and its gradient (three), differentiated again (four more).
PASSES = 7
CASES = {"cpu": [Case("lenet", 64), Case("convnet", 16), Case("resnet18", 4)]}
CASES["cuda"] = [Case("lenet", 64), Case("convnet", 64), Case("resnet18", 64)]
START = """
import time; begin = time.perf_counter()
from benchmarks.cases import case
from gradsiege.attacks.engine.engines import ENGINES
problem, x, target = case("convnet", 8, "cpu")
ENGINES["factored"](problem)(x, target)
print(time.perf_counter() - begin)
"""


def rows_of(
    measured: Case, device: str, seconds: float, compile_too: bool = False
) -> list[dict[str, Any]]:
    """Measure one network: a row for the textbook loop and one for each engine that runs here."""
    problem, x, target = measured.build(device)
    victims = measured.victims
    names = ["factored", "loop", "vmap"]
    names += ["cuda_graph", "cuda_graph_vmap"] if device == "cuda" else []
    names += ["compiled"] if compile_too else []
    plain = textbook(problem)
    engines, failed = usable({engine: ENGINES[engine](problem) for engine in names}, x, target)
    ways: dict[str, Callable[[], Any]] = {TEXTBOOK: lambda: plain(x, target)}
    ways |= {key: partial(run, x, target) for key, run in engines.items()}
    check(plain(x, target), engines, x, target)
    convolve, multiplied = large_convolution(device)
    clock = time.perf_counter if device == "cuda" else processor_seconds
    times = medians({**ways, CEILING: convolve}, seconds, device, clock)
    ceiling = multiplied / times[CEILING]
    images = torch.rand(victims, 3, measured.size, measured.size, device=device)
    forward = operations(partial(problem.model, images))
    counts = {key: operations(run) for key, run in ways.items() if key not in COUNTED_AS}
    counts |= {key: counts[same] for key, same in COUNTED_AS.items() if same in counts}
    missing = [
        {"model": measured.title, "victims": victims, "engine": key, "failed": reason}
        for key, reason in failed.items()
    ]
    return missing + [
        {
            "model": measured.title,
            "victims": victims,
            "engine": key,
            "milliseconds": round(1000 * times[key], 3),
            "speed-up": round(times[TEXTBOOK] / times[key], 2),
            "victim iterations per second": round(victims / times[key], 1),
            "forward passes": round(counts[key] / forward, 2),
            "share of ceiling": round(counts[key] / times[key] / ceiling, 3),
            "speed-up at the ceiling": round(times[TEXTBOOK] * ceiling / (PASSES * forward), 2),
            "peak MiB": peak(run) if device == "cuda" else None,
        }
        for key, run in ways.items()
    ]


def usable(
    engines: dict[str, Evaluate], x: Variables, target: Target
) -> tuple[dict[str, Evaluate], dict[str, str]]:
    """Return the engines that can run here, and why the others cannot."""
    failed: dict[str, str] = {}
    for name, run in engines.items():
        try:
            run(x, target)
        except RuntimeError as error:
            failed[name] = str(error).partition("\n")[0]
    return {name: run for name, run in engines.items() if name not in failed}, failed


def check(expected: Tensor, engines: dict[str, Evaluate], x: Variables, target: Target) -> None:
    """Refuse to time what does not compute the same gradient (cosine above 0.999 in float32)."""
    for name, run in engines.items():
        gradient = run(x, target)[0]["x"]
        agreement = F.cosine_similarity(gradient.flatten(1), expected.flatten(1)).min()
        if not agreement > 0.999:
            raise SystemExit(
                f"{name} and the textbook loop disagree: cosine {float(agreement):.4f}"
            )


def scaling(device: str, seconds: float) -> list[dict[str, Any]]:
    """Measure the time of one evaluation against the number of victims."""
    rows = []
    for victims in (4, 8, 16, 32, 64):
        problem, x, target = case("convnet", victims, device)
        evaluate = ENGINES["factored"](problem)
        clock = time.perf_counter if device == "cuda" else processor_seconds
        taken = medians({"factored": partial(evaluate, x, target)}, seconds, device, clock)
        per_victim = round(1000 * taken["factored"] / victims, 3)
        rows.append({"victims": victims, "milliseconds per victim": per_victim})
    return rows


def start_up() -> float:
    """Return the seconds from an interpreter's first import to the end of the first evaluation, least of three."""
    command = [sys.executable, "-c", START]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(3)]
    return round(min(float(run.stdout) for run in runs), 2)


def main() -> None:
    """Measure, append, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=15, help="per network")
    parser.add_argument(
        "--compiled", nargs="*", default=[], help="networks to time compiled too (minutes)"
    )
    options = parser.parse_args()
    make_portable()
    torch.set_num_threads(options.threads)
    record = heading(options.device, options.threads) | {"engines": []}
    for measured in CASES[options.device]:
        compile_too = measured.name in options.compiled
        rows = rows_of(measured, options.device, options.seconds, compile_too)
        record["engines"] += rows
        for row in rows:
            print(row, flush=True)
    record["scaling"] = scaling(options.device, options.seconds / 5)
    record["start-up seconds"] = start_up()
    print(record["scaling"], record["start-up seconds"])
    append(record)


def heading(device: str, threads: int) -> dict[str, Any]:
    """Return what every record begins with: when and on what it was measured, and the processes that ran or waited in the last minute."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device_name(device),
        "threads": threads,
        "torch": torch.__version__,
        "load": round(os.getloadavg()[0], 1),
    }


def append(record: dict[str, Any]) -> None:
    """Keep a record."""
    with ROWS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
