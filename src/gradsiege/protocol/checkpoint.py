"""Checkpoints of the global model, which every client downloads at one training stage."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from gradsiege import artifacts
from gradsiege.models import ModelSpec
from gradsiege.protocol.local_update import Tensors
from gradsiege.protocol.observation import group

MODEL = "model"


@dataclass(frozen=True)
class Checkpoint:
    """A global model after `round` rounds; `failure` says why it is unusable, if it is."""

    model: ModelSpec
    parameters: Tensors
    buffers: Tensors
    round: int
    failure: str = ""


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint."""
    tensors = {f"parameters.{name}": value for name, value in checkpoint.parameters.items()}
    tensors |= {f"buffers.{name}": value for name, value in checkpoint.buffers.items()}
    metadata = {
        "model": asdict(checkpoint.model),
        "round": checkpoint.round,
        "failure": checkpoint.failure,
    }
    artifacts.write_tensors(path, tensors, MODEL, metadata)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint."""
    tensors, metadata = artifacts.read_tensors(path, MODEL)
    return Checkpoint(
        model=ModelSpec(**metadata["model"]),
        parameters=group(tensors, "parameters."),
        buffers=group(tensors, "buffers."),
        round=metadata["round"],
        failure=metadata["failure"],
    )
