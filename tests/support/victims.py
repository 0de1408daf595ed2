"""Victims of 16 pixels, what the server sees of them, and a run that is left half-way."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from gradsiege.attacks.engine.loop import State
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.recipe import Recipe
from gradsiege.attacks.reconstruct import reconstruct
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import LocalTraining, local_update, split_state
from gradsiege.protocol.observation import Observation, stacked

SIDE = 16


def smooth(count: int) -> Tensor:
    """Random images without edges, ``[count, 3, 16, 16]``."""
    coarse = torch.rand(count, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear")


def observed(
    truth: Tensor,
    labels: Tensor,
    classes: int,
    width: int = 4,
    disclosure: dict[str, Any] | None = None,
) -> Observation:
    """Updates of victims that hold ``truth [victims, images, c, h, w]``: one step of a convnet."""
    spec = ModelSpec("convnet", {"width": width}, classes, 3, SIDE)
    model = build(spec, torch.Generator().manual_seed(1))
    parameters, buffers = split_state(model)
    images = truth.shape[1]
    training = LocalTraining("fedsgd", images, images, 1, 0.1, "eval")
    updates = [
        local_update(model, parameters, buffers, x, y, training)[0]
        for x, y in zip(truth, labels, strict=True)
    ]
    update = stacked(updates)
    return Observation.of_updates(
        spec, parameters, buffers, update, training, disclosure=disclosure, labels=labels
    )


def interrupted(knowledge: Knowledge, recipe: Recipe, stage: int, iteration: int) -> State:
    """The state in which a run of two restarts is left."""
    saved: list[State] = []

    class LeaveError(Exception):
        pass

    def pause(state: State) -> None:
        if (state.phase, state.iteration) == (stage, iteration):
            saved.append(copy.deepcopy(state))
            raise LeaveError

    with pytest.raises(LeaveError):
        reconstruct(knowledge, recipe, 2, ("s",), pause=pause)
    return saved[0]
