"""Equal calls give equal images, and only an equal call goes on from saved progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import gradsiege as gs
from gradsiege.attacks.engine import autotune
from gradsiege.attacks.knowledge import TrainedPrior
from gradsiege.attacks.progress import LoopCheckpointer
from gradsiege.errors import ArtifactError
from gradsiege.protocol.observation import Observation, Round

ATTACK = gs.attacks.InvertingGradients(iterations=3)
GIVEN = gs.ThreatModel(labels="given", batch_statistics=True, rounds=2)


def network(activation: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), activation, nn.Flatten(), nn.Linear(4 * 9, 5)
    )


@pytest.fixture
def seen() -> Observation:
    observed = gs.observe(network(nn.Sigmoid()), torch.rand(2, 3, 8, 8), torch.tensor([0, 1]))
    again = Round(observed.parameters, observed.buffers, observed.update)
    return replace(observed, later=(again,), progress=(0.1, 0.2))


def moved(tensors: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {**tensors, name: tensors[name] + 0.25}


def prior(value: float) -> TrainedPrior:
    """One component: the first pixel."""
    weights = {"mean": torch.full((3, 8, 8), value), "components": torch.eye(1, 192)}
    return TrainedPrior("pca", weights, {"held_out_error_mean": 0.1, "held_out_error_std": 0.1})


CHANGES: dict[str, Callable[[Observation], tuple[Observation, dict[str, Any]]]] = {
    "labels": lambda seen: (replace(seen, labels=torch.tensor([[2], [3]])), {}),
    "parameters": lambda seen: (
        replace(seen, parameters=moved(seen.parameters, "body.4.bias")),
        {},
    ),
    "normalisation": lambda seen: (
        replace(seen, buffers=moved(seen.buffers, "normalisation.mean")),
        {},
    ),
    "statistics": lambda seen: (
        replace(seen, statistics=moved(seen.statistics, "body.1.mean")),
        {},
    ),
    "training": lambda seen: (
        replace(seen, training=gs.LocalTraining("fedavg", 1, 1, 2, 0.1, "eval")),
        {},
    ),
    "later rounds": lambda seen: (
        replace(seen, later=(replace(seen.later[0], update=moved(seen.update, "body.4.bias")),)),
        {},
    ),
    "threat model": lambda seen: (seen, {"knows": replace(GIVEN, disclosure=True)}),
    "priors": lambda seen: (seen, {"priors": [prior(2.0)]}),
    "engine": lambda seen: (seen, {"engine": "vmap"}),
    "activation": lambda seen: (
        replace(
            seen,
            model=gs.observe(network(nn.ReLU()), torch.rand(1, 3, 8, 8), torch.tensor([0])).model,
        ),
        {},
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_progress_is_that_of_an_equal_call_alone(
    name: str, seen: Observation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradsiege.attacks.progress.SECONDS_BETWEEN_SAVES", 0.0)
    attack = gs.attacks.GiPip(iterations=3)
    call: dict[str, Any] = {"knows": GIVEN, "priors": [prior(1.0)], "engine": "loop"}
    whole = attack(seen, **call)
    pause = LoopCheckpointer.pause

    def leave(self: LoopCheckpointer, state: Any) -> None:
        pause(self, state)
        if state.iteration == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LoopCheckpointer, "pause", leave)
        with pytest.raises(KeyboardInterrupt):
            attack(seen, **call, resume=tmp_path)
    other, more = CHANGES[name](seen)
    with pytest.raises(ArtifactError, match="the progress of another attack"):
        attack(other, **{**call, **more}, resume=tmp_path)
    assert torch.equal(attack(seen, **call, resume=tmp_path).images, whole.images)


def test_the_default_engine_is_the_same_on_every_run(
    seen: Observation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*arguments: Any) -> None:
        raise AssertionError("the default measures nothing")

    monkeypatch.setattr(autotune, "measure", forbidden)
    single = ATTACK(seen).reconstruction
    several_steps = replace(seen, training=gs.LocalTraining("fedavg", 1, 1, 2, 0.1, "eval"))
    assert [choice["engine"] for choice in single.engines] == ["factored"]
    assert [choice["engine"] for choice in ATTACK(several_steps).reconstruction.engines] == ["loop"]
    assert torch.equal(ATTACK(seen).images, single.images.flatten(0, 1))
    with pytest.raises(AssertionError, match="measures nothing"):
        ATTACK(seen, engine="measured")


def test_a_network_without_a_product_to_open_up_is_attacked() -> None:
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(3 * 64, 5))
    seen = gs.observe(
        nn.Sequential(nn.Flatten(), normed), torch.rand(1, 3, 8, 8), torch.tensor([0])
    )
    given = gs.ThreatModel(labels="given")
    images = [ATTACK(seen, given, engine=engine).images for engine in ("fixed", "loop")]
    assert (images[0] - images[1]).abs().max() < 1e-4
