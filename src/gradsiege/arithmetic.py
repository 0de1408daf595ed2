"""One choice of kernels for x86-64 processors with AVX2, so that results depend less on the machine.

Numerical libraries choose their kernels by processor: PyTorch and oneDNN by the widest vectors, MKL by vendor as well. Each
choice adds up in another order, so the last digits differ, and hundreds of steps of an attack turn last digits into decibels.
Every verb that computes cells therefore asks the libraries for one choice. A manifest records their answer.

Trainings, priors and attacks then have the same bytes on Intel's and AMD's processors (tests/test_arithmetic.py). For that they take
square roots with `square_root`, and priors train with PyTorch's fused Adam, which does not call the square root that `square_root` avoids.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# What each library reads, once, when it first computes: PyTorch's own kernels; oneDNN's convolutions; MKL's matrix products, factorisations
# and elementary functions (conditional numerical reproducibility). MKL's AVX2 branch computes differently on Intel's and AMD's
# processors; its compatible one does not, and costs trainings and attacks at most a third more time.
PORTABLE = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "COMPATIBLE"}
# Every processor with these has all that GCC calls x86-64-v3.
NEEDED = {"avx2", "fma", "bmi2"}
# Compiled attacks are translated for this processor, as wide as the other kernels.
COMPILER = {"march": "x86-64-v3", "simdlen": 256}
CPUINFO = Path("/proc/cpuinfo")


def has_avx2(cpuinfo: Path = CPUINFO) -> bool:
    """Whether Linux lists the instructions of x86-64-v3 among those of the processor."""
    return set(_value(cpuinfo, "flags").split()) >= NEEDED


def make_portable(cpuinfo: Path = CPUINFO) -> None:
    """Ask the numerical libraries for the portable kernels if the processor has it; do this before any of them computes.

    A variable that the user has set keeps its value. Other processors compute as they do by themselves.
    """
    if has_avx2(cpuinfo):
        for name, value in PORTABLE.items():
            os.environ.setdefault(name, value)


def square_root(x: Tensor) -> Tensor:
    """Return the square root of each number, rounded correctly, of the dtype of `x`.

    PyTorch's own float32 square root on the CPU (MKL's) starts from an approximate instruction that differs between vendors: a
    fifth of its results are off in the last digit, and not the same fifth everywhere. In float64 it is off far below a float32 digit.
    GPUs and compiled programs round correctly by themselves.

    >>> import torch
    >>> square_root(torch.tensor([0.0, 4.0]))
    tensor([0., 2.])
    """
    import torch

    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return x.sqrt()
    return x.double().sqrt().to(x.dtype)


def describe() -> dict[str, str]:
    """Return the processor, and the instructions that each library uses on it, as manifests hold them."""
    import torch

    chosen = {name: os.environ.get(name, "native") for name in PORTABLE}
    # PyTorch says what it really took; where it was loaded before the variable was set, that is something else.
    chosen["ATEN_CPU_CAPABILITY"] = torch.backends.cpu.get_cpu_capability().lower()
    model = _value(CPUINFO, "model name") or platform.processor() or platform.machine()
    return {"processor": model, **chosen}


def is_portable(described: Mapping[str, str]) -> bool:
    """Whether the result of `describe` names the instructions that all machines with AVX2 share.

    >>> is_portable({"processor": "any", **PORTABLE})
    True
    >>> is_portable({"processor": "any", **PORTABLE, "ATEN_CPU_CAPABILITY": "avx512"})
    False
    """
    return all(described.get(name) == value for name, value in PORTABLE.items())


def summary(described: Mapping[str, str]) -> str:
    """Return in a few words which instructions computed; processors with the shared ones are not told apart.

    >>> summary({"processor": "any", **PORTABLE}), summary({"processor": "this one", "ATEN_CPU_CAPABILITY": "avx512"})
    ('AVX2', 'avx512 of this one')
    """
    if not described:
        return "instructions that were not recorded"
    if is_portable(described):
        return "AVX2"
    return f"{described['ATEN_CPU_CAPABILITY']} of {described['processor']}"


def _value(cpuinfo: Path, key: str) -> str:
    """Return the first value of a key of Linux's description of the processor; empty where there is none."""
    if not cpuinfo.is_file():
        return ""
    for line in cpuinfo.read_text(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""
