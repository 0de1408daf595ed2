"""Victims of a defended client, small enough to attack in a test."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from gradsiege import catalogue, defenses
from gradsiege.attacks import reconstruct as reconstructing
from gradsiege.attacks.engine.autotune import EnginePolicy
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.defenses.base import Client
from gradsiege.federated.client import run_client
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import LocalTraining, Tensors, split_state
from gradsiege.protocol.observation import Observation, stacked
from gradsiege.protocol.threat_model import ThreatModel

torch.set_num_threads(1)
SHAPES: dict[str, dict[str, Any]] = {
    "convnet": {"width": 8},
    "lenet": {"channels": 12, "initial_range": 0.5},
    "resnet18": {"width": 4},
}
INFORMED = ThreatModel(id="informed", disclosure=True)


@dataclass(frozen=True)
class Scene:
    """What the server sees of defended victims, and beside it what only a test may look at.

    Attributes:
        seen: the observation, with its disclosure and without labels.
        clean: the updates without the defense, ``[victims, ...]``.
        truth: ``[victims, images, c, h, w]``; labels: ``[victims, images]``.
    """

    seen: Observation
    clean: Tensors
    truth: Tensor
    labels: Tensor

    def double(self) -> Scene:
        """The same numbers in double precision."""
        seen = self.seen
        return Scene(
            replace(
                seen,
                parameters=_double(seen.parameters),
                buffers=_double(seen.buffers),
                update=_double(seen.update),
            ),
            _double(self.clean),
            self.truth.double(),
            self.labels,
        )

    @property
    def knowledge(self) -> Knowledge:
        """What an informed attacker gets."""
        return Knowledge(self.seen, INFORMED)


def _double(tensors: Tensors) -> Tensors:
    return {k: v.double() if v.is_floating_point() else v for k, v in tensors.items()}


def smooth(count: int, side: int) -> Tensor:
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)


class Stage:
    """Makes scenes."""

    def __call__(
        self,
        name: str,
        parameters: dict[str, Any] | None = None,
        *,
        arm: str = "faithful",
        model: str = "convnet",
        victims: int = 2,
        images: int = 1,
        steps: int = 1,
        shape: dict[str, Any] | None = None,
    ) -> Scene:
        """Let `victims` clients with `images` images each run the client loop with a defense, and without."""
        given = catalogue.entries("defenses")[name].validate(parameters or {}, "test")
        defense = defenses.build(name, given, arm)
        spec = defense.wrap_model(
            ModelSpec(model, SHAPES[model] if shape is None else shape, 10, 3, 16)
        )
        network = build(spec, torch.Generator().manual_seed(1))
        values, buffers = split_state(network)
        truth = smooth(victims * images, 16).view(victims, images, 3, 16, 16)
        labels = (torch.arange(victims * images).view(victims, images) + 3) % 10
        protocol = "fedsgd" if steps == 1 else "fedavg"
        training = LocalTraining(protocol, images, images // steps, 1, 0.1, "eval")
        runs = []
        for one in (defense, defenses.build("none", {})):
            clients = [
                Client(network, values, buffers, x, y, training, torch.Generator().manual_seed(7))
                for x, y in zip(truth, labels, strict=True)
            ]
            updates = [run_client(client, one)[0] for client in clients]
            runs.append(stacked(updates))
        stated = defense.disclosure()
        seen = Observation.of_updates(spec, values, buffers, runs[0], training, disclosure=stated)
        return Scene(seen, runs[1], truth, labels)


@pytest.fixture
def defended() -> Stage:
    """A function that makes a scene of a defense by name."""
    return Stage()


@pytest.fixture(autouse=True)
def one_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines round differently, and a measurement may choose another one the next time: tests take one."""
    monkeypatch.setattr(reconstructing, "EnginePolicy", partial(EnginePolicy, "loop"))
