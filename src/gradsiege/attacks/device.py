"""The device that an attack runs on, and its name for the record."""

from __future__ import annotations

import torch

from gradsiege.attacks.engine.autotune import FIXED, MEASURED, EnginePolicy
from gradsiege.attacks.engine.engines import ENGINES
from gradsiege.errors import UsageError

AUTO = "auto"  # the device: a GPU if there is one


def where_to_run(device: str | torch.device, engine: str = MEASURED) -> torch.device:
    """Return the device of an attack; refuse it if it does not exist or the engine does not run on it.

    Raises:
        UsageError: the device or the engine is unknown, or there is no such GPU.
    """
    EnginePolicy(engine)
    device = str(device)
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    there = ["cpu", *(["cuda"] if gpus else []), *gpus]
    if device != AUTO and device not in there:
        choices = ", ".join([AUTO, *there])
        none = "" if gpus else ", for PyTorch sees no GPU"
        raise UsageError(f"device {device!r} is not there; choose one of {choices}{none}")
    chosen = torch.device(("cuda" if gpus else "cpu") if device == AUTO else device)
    if engine.startswith("cuda") and chosen.type != "cuda":
        words = (MEASURED, *ENGINES, FIXED)
        others = ", ".join(name for name in words if not name.startswith("cuda"))
        raise UsageError(
            f"engine {engine!r} runs on a GPU alone, and the device is {chosen.type}; choose one of {others}"
        )
    return chosen


def describe(device: torch.device) -> str:
    """Return the name of a device, for the record."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
