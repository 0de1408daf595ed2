"""Weights that somebody else published, from a file that the user names: safetensors, or tensors that PyTorch reads safely."""

from __future__ import annotations

import hashlib
from pathlib import Path

# Imported for its class alone: PyTorch raises it when it refuses a file.
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from gradsiege.errors import GradSiegeError, MissingError
from gradsiege.pretrained import VARIABLE, weights_folder


def find(given: str, usual: str) -> Path:
    """Return the file of weights: `given`, or the one called `usual` in the folder of published weights.

    Raises:
        MissingError: there is no such file.
    """
    path = Path(given).expanduser() if given else weights_folder() / usual
    if not path.is_file():
        raise MissingError(
            f"the published weights {path.name!r} are not at {path}: obtain them from their authors, and name the file "
            f"in the prior's parameter `weights`, or put it into the folder that {VARIABLE} names"
        )
    return path


def read(
    path: Path, wanted: str = "", inside: tuple[str, ...] = ()
) -> tuple[dict[str, Tensor], str]:
    """Return (tensors by name, SHA-256 of the file). Nothing in the file is ever executed.

    Every tensor has the shape that the file states.

    Args:
        path: ends with ``.safetensors``, or is a PyTorch file of tensors.
        wanted: the digest that the file must have; empty for any.
        inside: keys under which the tensors may lie in a PyTorch file, tried in order.

    Raises:
        GradSiegeError: the digest is another one, or the file holds something else than tensors.
    """
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if wanted and actual != wanted.lower():
        raise GradSiegeError(
            f"{path.name} has the SHA-256 {actual}, not {wanted}: it is not the file that the study file names"
        )
    content = _content(path)
    for key in inside:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not content:
        raise GradSiegeError(f"{path.name} holds no tensors by name")
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if len(tensors) < len(content):
        raise GradSiegeError(
            f"{path.name} holds something else than tensors: {sorted(set(content) - set(tensors))[:3]}"
        )
    return tensors, actual


def _content(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise GradSiegeError(f"{path.name} is not a safetensors file: {error}") from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise GradSiegeError(
            f"{path.name} is not a file of tensors that can be read without running code: {error}"
        ) from error


def demand(weights: dict[str, Tensor], shapes: dict[str, torch.Size], name: str) -> None:
    """Refuse converted weights in which a tensor is missing, unknown or of another shape."""
    missing, foreign = sorted(set(shapes) - set(weights)), sorted(set(weights) - set(shapes))
    wrong = [key for key in shapes if key in weights and weights[key].shape != shapes[key]]
    if missing or foreign or wrong:
        raise GradSiegeError(
            f"these are not the weights of {name}: {len(missing)} tensors are missing {missing[:2]}, {len(foreign)} are "
            f"unknown {foreign[:2]}, {len(wrong)} have another shape {wrong[:2]}"
        )
