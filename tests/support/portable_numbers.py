"""A small training and a small attack, hashed; run as a program of its own, since libraries choose instructions once."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from gradsiege import arithmetic

arithmetic.make_portable()

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

import gradsiege as gs  # noqa: E402
from gradsiege.models import ModelSpec, build  # noqa: E402
from gradsiege.protocol.local_update import LocalTraining, local_update, split_state  # noqa: E402


def sha256(tensors: dict[str, Tensor]) -> str:
    """Hash the bytes of all tensors, by name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def small_training() -> dict[str, Tensor]:
    """Train a convnet of width 8 for two epochs of FedAvg on sixteen made-up images of 16 px."""
    generator = torch.Generator().manual_seed(0)
    model = build(ModelSpec("convnet", {"width": 8}, 4, 3, 16), generator)
    images = torch.rand(16, 3, 16, 16, generator=generator)
    labels = torch.arange(16) % 4
    training = LocalTraining("fedavg", 16, 8, 2, 0.05, "train")
    update, buffers = local_update(model, *split_state(model), images, labels, training)
    return {**update, **{f"buffer {name}": value for name, value in buffers.items()}}


def small_attack() -> dict[str, Tensor]:
    """Run Inverting Gradients with signed steps, as published, against two clients of the same network."""
    generator = torch.Generator().manual_seed(1)
    model = build(ModelSpec("convnet", {"width": 8}, 4, 3, 16), generator)
    images = torch.rand(2, 3, 16, 16, generator=generator)
    seen = gs.observe(model, images, torch.tensor([1, 3]))
    return {"images": gs.attacks.InvertingGradients(iterations=20)(seen).images}


if __name__ == "__main__":
    torch.set_num_threads(1)
    numbers: dict[str, Any] = {
        "torch": torch.__version__.partition("+")[0],
        "arithmetic": arithmetic.describe(),
        "training": sha256(small_training()),
        "attack": sha256(small_attack()),
    }
    print(json.dumps(numbers))
