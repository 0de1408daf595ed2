"""A batch norm with one value per channel: refused exactly where PyTorch refuses it."""

from __future__ import annotations

import copy
from typing import Literal

import pytest
import torch
from torch import nn

import gradsiege as gs
from gradsiege.errors import ModelError


def network(norm: nn.Module, flat: bool) -> nn.Module:
    """Return a network whose norm gets 1x1 maps, or flat features."""
    pooled = [nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(
        *pooled, *([nn.Flatten()] if flat else []), norm, nn.Flatten(), nn.Linear(4, 3)
    )


def refused_by_pytorch(model: nn.Module, images: torch.Tensor, batch: int, mode: str) -> bool:
    """Return whether PyTorch itself refuses a forward pass over the batches."""
    trained = copy.deepcopy(model).train(mode == "train")
    refusals = []
    for part in images.split(batch):
        try:
            trained(part)
        except ValueError as error:
            refusals.append(str(error))
    return any("more than 1 value per channel" in refusal for refusal in refusals)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(("count", "batch"), [(1, 1), (2, 2), (3, 2), (4, 2)])
@pytest.mark.parametrize(
    ("norm", "flat"),
    [
        (nn.BatchNorm2d(4), False),
        (nn.BatchNorm1d(4), True),
        (nn.BatchNorm2d(4, track_running_stats=False), False),
    ],
)
def test_clients_are_refused_where_pytorch_refuses_them(
    norm: nn.Module, flat: bool, count: int, batch: int, mode: Literal["train", "eval"]
) -> None:
    torch.manual_seed(0)
    model, images = network(norm, flat), torch.rand(count, 3, 8, 8)
    training = gs.LocalTraining("fedavg", count, batch, 1, 0.1, mode)

    def observed() -> gs.Observation:
        return gs.observe(model, images, [0] * count, images_per_client=count, training=training)

    if refused_by_pytorch(model, images, batch, mode):
        with pytest.raises(ModelError, match=r"batch norm \d gets \[1, 4.*larger images"):
            observed()
    else:
        assert not observed().failures


def test_larger_maps_are_trained_on_one_image() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 3))
    training = gs.LocalTraining("fedsgd", 1, 1, 1, 0.1, "train")
    seen = gs.observe(model, torch.rand(1, 3, 8, 8), [0], training=training)
    assert bool(seen.update["body.0.weight"].any())


def test_an_audit_shows_no_leak_of_no_client() -> None:
    training = gs.LocalTraining("fedsgd", 1, 1, 1, 0.1, "train")
    images = torch.rand(8, 3, 8, 8)
    with pytest.raises(ModelError, match="one value per channel"):
        gs.audit(network(nn.BatchNorm2d(4), False), images, [0, 1, 2, 0] * 2, training)
