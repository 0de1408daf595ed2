"""What an attacker or a defender learns from images of its own: autoencoders, generators, and their training."""

from __future__ import annotations

import importlib
from types import ModuleType


def module(name: str) -> ModuleType:
    """Return the module of a prior: it has `Parameters`, `train` and `load`."""
    return importlib.import_module(f"gradsiege.priors.{name}")
