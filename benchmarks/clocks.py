"""Clocks: what is compared takes turns in one process, and medians are compared."""

from __future__ import annotations

import math
import platform
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

# Images and channels of the large convolution, and the side of its images.
LARGE = {"cpu": (16, 128), "cuda": (256, 256)}
SIDE = 32
TURNS = 5
Clock = Callable[[], float]


def medians(
    ways: dict[str, Callable[[], Any]],
    seconds: float,
    device: str,
    clock: Clock = time.perf_counter,
) -> dict[str, float]:
    """Return the median time of every way, taken in turns until the seconds are up (at least five turns)."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for run in ways.values():
        run()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(taken.values()))) < TURNS:
        for name, run in ways.items():
            wait(device)
            begin = clock()
            run()
            wait(device)
            taken[name].append(clock() - begin)
    return {name: statistics.median(values) for name, values in taken.items()}


def processor_seconds() -> float:
    """Return the processor time of this process and of those that it waited for, such as a compiler."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def wait(device: str) -> None:
    """Wait for a GPU to finish."""
    if device == "cuda":
        torch.cuda.synchronize()


def large_convolution(device: str) -> tuple[Callable[[], Tensor], int]:
    """Return a large convolution by 3 x 3 and its operations: the most that a machine does per second.

    It is computed by the library that computes the convolutions of networks, in their precision, which a matrix product need not be: on
    a GPU PyTorch rounds the factors of convolutions to TF32, and on a CPU MKL and oneDNN may use other instructions.
    """
    images, channels = LARGE[device]
    pixels = torch.rand(images, channels, SIDE, SIDE, device=device)
    weight = torch.rand(channels, channels, 3, 3, device=device)
    return partial(torch.conv2d, pixels, weight, padding=1), 2 * 9 * images * (channels * SIDE) ** 2


def operations(run: Callable[[], Any]) -> int:
    """Return the floating-point operations of a run, as PyTorch counts them, but for the derivatives of grouped convolutions."""
    formulas = {torch.ops.aten.convolution_backward: _operations_of_derivatives}
    with FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        run()
    return int(counter.get_total_flops())


def _operations_of_derivatives(
    gradient: list[int], inputs: list[int], weight: list[int], *rest: Any, **named: Any
) -> int:
    """Return the operations of the derivatives of a convolution; PyTorch takes every group for as large as all together.

    Each of the two derivatives has the operations of the convolution: every value on the side where a filter is applied meets the filter.
    """
    transposed, wanted = rest[4], rest[7]
    met = inputs if transposed else gradient
    return int(sum(wanted[:2])) * 2 * math.prod(met) * math.prod(weight[1:])


def peak(run: Callable[[], Any]) -> float:
    """Return the peak of the GPU's memory during a run, in MiB."""
    torch.cuda.reset_peak_memory_stats()
    run()
    return round(torch.cuda.max_memory_allocated() / 2**20, 1)


def processor() -> str:
    """Return the processor's name, as the kernel gives it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def device_name(device: str) -> str:
    """Return the name of the GPU or of the processor."""
    return str(torch.cuda.get_device_name()) if device == "cuda" else processor()
