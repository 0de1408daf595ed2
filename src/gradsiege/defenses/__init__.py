"""Client-side defenses, one file each over one small base; `build` makes one by name."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from gradsiege.defenses.base import Defense
    from gradsiege.protocol.local_update import Tensors


def build(
    name: str,
    parameters: dict[str, Any],
    arm: str = "faithful",
    shadow: Path | Tensors | None = None,
) -> Defense:
    """Return the defense of a study file's entry, parameters already resolved.

    `shadow` is the pretrained generator, its file or its weights, handed only to modules with ``REQUIRES = ("shadow",)``.
    """
    module = importlib.import_module(f"gradsiege.defenses.{name}")
    wanted = {"shadow": shadow} if "shadow" in getattr(module, "REQUIRES", ()) else {}
    defense: Defense = module.build(module.Parameters(**parameters), arm, **wanted)
    return defense
