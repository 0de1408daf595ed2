"""Trained priors and shadow generators as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from gradsiege import artifacts
from gradsiege.errors import GradSiegeError

SHADOW = "shadow"


PRIOR = "prior"


def refuse_divergence(weights: dict[str, Tensor], name: str) -> None:
    """Raise if a trained weight is not finite: every attack with such a prior would fail.

    weights: by name, of any shape.
    """
    broken = [key for key, value in weights.items() if not value.isfinite().all()]
    if broken:
        raise GradSiegeError(
            f"the prior {name!r} diverged: {len(broken)} of its tensors, {broken[0]!r} first, are not finite. "
            "Lower its learning_rate in the study file, or train it for fewer steps."
        )


def load_prior(path: Path) -> tuple[str, dict[str, Tensor], dict[str, Any]]:
    """Return (name, weights, card) of a trained prior.

    Weights are tensors by name, each in the shape in which `Prior.train` returned it.
    """
    weights, metadata = artifacts.read_tensors(path, PRIOR)
    return metadata["name"], weights, metadata["card"]


def load_shadow(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return (weights, card) of a pretrained shadow generator.

    Weights are tensors by name, each of the shape of the generator's own.
    """
    weights, metadata = artifacts.read_tensors(path, SHADOW)
    return weights, metadata["card"]
