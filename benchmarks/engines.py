"""Time the attack engines against the textbook loop, in one process, interleaved; append the rows to `rows.jsonl`.

    make benchmark

The textbook loop is what nearly all released code does: one victim after the other, `autograd.grad` with
``create_graph=True``, then ``backward()``. Every number is a median; compare ratios, not times: machines are noisy.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
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
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cases import WEIGHT, case
from gradsiege.attacks.engine.engines import ENGINES
from gradsiege.attacks.engine.objective import Problem, Target
from gradsiege.attacks.variables import Variables
from gradsiege.models import build

ROWS = Path(__file__).with_name("rows.jsonl")
TEXTBOOK = "textbook loop"
CEILING = "matrix product"
SIDE = 1024
# The counter charges a grouped convolution as if it were a full one: vmap, and what is compiled from it, have no number
# of their own. They do what the loop does, so that its count stands for theirs in the share of the ceiling.
COUNTED = (TEXTBOOK, "loop", "factored")
# What an iteration costs at least: one forward pass and its gradient (three), differentiated again (four more).
PASSES = 7
CASES = {"cpu": [("lenet", 64), ("convnet", 16), ("resnet18", 4)]}
CASES["cuda"] = [("lenet", 64), ("convnet", 64), ("resnet18", 64)]
START = """
import time; begin = time.perf_counter()
from benchmarks.cases import case
from gradsiege.attacks.engine.engines import ENGINES
problem, x, target = case("convnet", 8, "cpu")
ENGINES["factored"](problem)(x, target)
print(time.perf_counter() - begin)
"""


def textbook(problem: Problem) -> Callable[[Variables, Target], Tensor]:
    """The loop that engines are compared with."""
    model = build(problem.observation.model).to(
        next(iter(problem.observation.parameters.values())).device
    )
    model.load_state_dict({**problem.observation.parameters, **problem.observation.buffers})
    plain_norms(model.eval())
    parameters = list(model.parameters())
    names = [name for name, _ in model.named_parameters()]
    space: Any = problem.phase.space

    def one(x: Tensor, label: Tensor, observed: list[Tensor]) -> Tensor:
        candidate = x.clone().requires_grad_()
        loss = F.cross_entropy(model(space.images({"x": candidate})), label)
        found = torch.autograd.grad(loss, parameters, create_graph=True)
        product = torch.stack([(a * b).sum() for a, b in zip(found, observed, strict=True)]).sum()
        own = torch.stack([a.pow(2).sum() for a in found]).sum()
        seen = torch.stack([b.pow(2).sum() for b in observed]).sum()
        variation = candidate.diff(dim=-1).abs().mean() + candidate.diff(dim=-2).abs().mean()
        (1 - product / (own.sqrt() * seen.sqrt()) + WEIGHT * variation).backward()
        model.zero_grad()
        assert candidate.grad is not None
        return candidate.grad

    def evaluate(x: Variables, target: Target) -> Tensor:
        rows = zip(x["x"], target.labels, *(target.observed[name] for name in names), strict=True)
        return torch.stack([one(image, label, list(observed)) for image, label, *observed in rows])

    return evaluate


def medians(ways: dict[str, Callable[[], Any]], seconds: float, device: str) -> dict[str, float]:
    """Return the median seconds of every way, taken in turns until the time is up (at least five turns)."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for run in ways.values():
        run()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(taken.values()))) < 5:
        for name, run in ways.items():
            _wait(device)
            begin = time.perf_counter()
            run()
            _wait(device)
            taken[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in taken.items()}


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def plain_norms(module: nn.Module) -> None:
    """Replace the batch norms of a network by PyTorch's own, as released code has them."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d):
            own = nn.BatchNorm2d(child.num_features, child.eps)
            own.load_state_dict(child.state_dict())
            setattr(module, name, own.to(child.weight.device).eval())
        else:
            plain_norms(child)


def matrix_product(device: str) -> Callable[[], Tensor]:
    """Return one large product in float32, SIDE^3 multiplications: the most that this machine does a second."""
    left, right = torch.rand(2, SIDE, SIDE, device=device)
    return partial(torch.mm, left, right)


def operations(run: Callable[[], Any]) -> int:
    """Return the floating-point operations of a run, as PyTorch counts them."""
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def rows_of(
    name: str, victims: int, device: str, seconds: float, compile_too: bool
) -> list[dict[str, Any]]:
    """Measure one network: a row for the textbook loop and one for each engine that runs here."""
    problem, x, target = case(name, victims, device)
    names = ["factored", "loop", "vmap"]
    names += ["cuda_graph", "cuda_graph_vmap"] if device == "cuda" else []
    names += ["compiled"] if compile_too else []
    engines = {engine: ENGINES[engine](problem) for engine in names}
    plain = textbook(problem)
    ways: dict[str, Callable[[], Any]] = {TEXTBOOK: lambda: plain(x, target)}
    ways |= {key: partial(run, x, target) for key, run in engines.items()}
    check(plain(x, target), engines, x, target)
    times = medians({**ways, CEILING: matrix_product(device)}, seconds, device)
    ceiling = 2 * SIDE**3 / times[CEILING]
    images = torch.rand(victims, 3, 32, 32, device=device)
    forward = operations(partial(problem.model, images))
    counts = {key: operations(ways[key]) for key in COUNTED}
    return [
        {
            "model": name,
            "victims": victims,
            "engine": key,
            "milliseconds": round(1000 * times[key], 2),
            "speed-up": round(times[TEXTBOOK] / times[key], 2),
            "victim iterations per second": round(victims / times[key], 1),
            "forward passes": round(counts[key] / forward, 2) if key in COUNTED else None,
            "share of ceiling": round(counts.get(key, counts["loop"]) / times[key] / ceiling, 3),
            "speed-up at the ceiling": round(times[TEXTBOOK] * ceiling / (PASSES * forward), 2),
            "peak MiB": peak(run) if device == "cuda" else None,
        }
        for key, run in ways.items()
    ]


def peak(run: Callable[[], Any]) -> float:
    """Return the peak of the GPU's memory during a run, in MiB."""
    torch.cuda.reset_peak_memory_stats()
    run()
    return round(torch.cuda.max_memory_allocated() / 2**20, 1)


def check(expected: Tensor, engines: dict[str, Any], x: Variables, target: Target) -> None:
    """Refuse to time what does not compute the same gradient (cosine above 0.999 in float32)."""
    for name, run in engines.items():
        found = run(x, target)[0]["x"]
        agreement = F.cosine_similarity(found.flatten(1), expected.flatten(1)).min()
        if not agreement > 0.999:
            raise SystemExit(
                f"{name} and the textbook loop disagree: cosine {float(agreement):.4f}"
            )


def processor() -> str:
    """Return the processor's name, as the kernel gives it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def scaling(device: str, seconds: float) -> list[dict[str, Any]]:
    """Measure the time of one evaluation against the number of victims."""
    rows = []
    for victims in (4, 8, 16, 32, 64):
        problem, x, target = case("convnet", victims, device)
        evaluate = ENGINES["factored"](problem)
        found = medians({"factored": partial(evaluate, x, target)}, seconds, device)
        rows.append(
            {
                "victims": victims,
                "milliseconds per victim": round(1000 * found["factored"] / victims, 3),
            }
        )
    return rows


def start_up() -> float:
    """Return the seconds from an interpreter's first import to the end of the first evaluation, least of three."""
    command = [sys.executable, "-c", START]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(3)]
    return round(min(float(run.stdout) for run in runs), 2)


def main() -> None:
    """Measure, append, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=15, help="per network")
    parser.add_argument(
        "--compiled", nargs="*", default=[], help="networks to time compiled too (minutes)"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    record: dict[str, Any] = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name() if options.device == "cuda" else processor(),
        "threads": options.threads,
        "torch": torch.__version__,
        "engines": [],
    }
    for name, victims in CASES[options.device]:
        found = rows_of(name, victims, options.device, options.seconds, name in options.compiled)
        record["engines"] += found
        for row in found:
            print(row, flush=True)
    record["scaling"] = scaling(options.device, options.seconds / 5)
    record["start-up seconds"] = start_up()
    print(record["scaling"], record["start-up seconds"])
    with ROWS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
