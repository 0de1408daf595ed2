"""Weights of the user's network: safetensors, or PyTorch files that hold tensors and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gradsiege.auditing.inputs.finite import not_finite
from gradsiege.auditing.words import is_or_are
from gradsiege.errors import ArtifactError, ModelError, UsageError
from gradsiege.ranges import counted

SAFE, PICKLED = (".safetensors",), (".pt", ".pth", ".bin", ".ckpt")
# Keys under which training scripts keep the weights beside an optimizer's state.
NESTED = ("state_dict", "model_state_dict", "model")
NUMBERS = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.bool),
)
# Prefixes of wrappers: DataParallel and DistributedDataParallel, Opacus, torch.compile.
WRAPPERS = ("module.", "_module.", "_orig_mod.")


def read_tensors(path: Path, option: str) -> dict[str, Tensor]:
    """Return the named tensors of a file; nothing is unpickled beyond what PyTorch's `weights_only` allows.

    Every tensor has the shape that the file states.

    Raises:
        UsageError: the file is not there, or of another kind.
        ArtifactError: it is damaged, or holds more than tensors.
    """
    if not path.is_file():
        raise UsageError(f"{option} {path} is not a file")
    if path.suffix in SAFE:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return _readable(dict(load_file(path)), path, option)
        except (SafetensorError, OSError, ValueError) as error:
            raise ArtifactError(
                f"{option} {path} is not a sound safetensors file: {error}"
            ) from error
    if path.suffix not in PICKLED:
        raise UsageError(
            f"{option} {path}: weights are read from {', '.join((*SAFE, *PICKLED))} files"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ArtifactError(
            f"{option} {path} is refused: it is damaged, or holds Python objects beside tensors, which could run code when they "
            "are loaded; save `model.state_dict()` alone"
        ) from error
    return _named(content, path, option)


def _named(content: Any, path: Path, option: str) -> dict[str, Tensor]:
    for key in NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise ArtifactError(
            f"{option} {path} holds {type(content).__name__}; save `model.state_dict()`, tensors by name"
        )
    named = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    return _readable(named, path, option)


def _readable(named: dict[str, Tensor], path: Path, option: str) -> dict[str, Tensor]:
    """Return tensors that are plain arrays of numbers; refuse others by their name."""
    for name, value in named.items():
        if value.is_nested or value.layout != torch.strided:
            raise ArtifactError(
                f"{option} {path}: {name!r} is stored as {'nested' if value.is_nested else value.layout}; save it by .to_dense()"
            )
        if value.is_meta or value.is_quantized or value.dtype not in NUMBERS:
            held = "no values" if value.is_meta else str(value.dtype)
            raise ArtifactError(
                f"{option} {path}: {name!r} holds {held}; save real numbers, by .float() or .dequantize()"
            )
    return named


def unwrapped(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights without the prefix of a wrapper that all of them bear.

    >>> list(unwrapped({"module.fc.weight": torch.zeros(1)}))
    ['fc.weight']
    """
    named = dict(weights)
    for prefix in WRAPPERS:
        if named and all(name.startswith(prefix) for name in named):
            named = {name.removeprefix(prefix): value for name, value in named.items()}
    return named


def put_into(network: nn.Module, weights: Mapping[str, Tensor], source: str, model: str) -> None:
    """Load weights into a network, in place.

    Args:
        weights: by name, each of the shape that the network has.
        source: their option and file; model: the network as the user names it.

    Raises:
        ModelError: they are those of another network; the first names that differ are told.
    """
    given, state = unwrapped(weights), network.state_dict()
    missing = [
        name for name in state if name not in given and not name.endswith("num_batches_tracked")
    ]
    further = [name for name in given if name not in state]
    shaped = [name for name in given if name in state and given[name].shape != state[name].shape]
    if missing or further or shaped:
        parts = []
        if missing:
            parts.append(
                f"{len(missing)} of its tensors {is_or_are(len(missing))} missing, such as {missing[0]!r}"
            )
        if further:
            does = "does" if len(further) == 1 else "do"
            parts.append(
                f"{counted(len(further), 'tensor')} {does} not belong to it, such as {further[0]!r}"
            )
        if shaped:
            name = shaped[0]
            parts.append(
                f"{name!r} has shape {list(given[name].shape)} and should have {list(state[name].shape)}"
            )
        raise ModelError(
            f"{source} are not weights of {model}: {', and '.join(parts)}; change --model or --weights"
        )
    for name, value in given.items():
        if state[name].is_floating_point() and not value.is_floating_point():
            raise ModelError(
                f"{source}: {name!r} holds whole numbers ({value.dtype}), and the network's are {state[name].dtype}; give the weights as they "
                "were trained"
            )
        strange = not_finite(value, repr(name))
        if strange:
            raise ModelError(
                f"{source}: {strange}; give weights of a training that did not diverge"
            )
    network.load_state_dict(given, strict=False)
