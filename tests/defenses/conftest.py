"""Clients to defend: one of which only the generator matters, and one with a model and images."""

from collections.abc import Callable

import pytest
import torch

from gradsiege.defenses.base import Client, Defense
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import LocalTraining, split_state

torch.set_num_threads(1)
LENET = ModelSpec("lenet", {"channels": 4, "initial_range": 0.5}, 5, 3, 16)


@pytest.fixture
def bystander() -> Callable[[int], Client]:
    """Make a client whose generator is seeded and whose data are of no concern."""

    def make(seed: int) -> Client:
        nothing = torch.zeros(1, 1, 1, 1)
        training = LocalTraining("fedsgd", 1, 1, 1, 0.1, "eval")
        generator = torch.Generator().manual_seed(seed)
        return Client(torch.nn.Identity(), {}, {}, nothing, torch.zeros(1), training, generator)

    return make


@pytest.fixture
def party() -> Callable[..., Client]:
    """Make a client with four images at 16 px, whose model the defense may have wrapped."""

    def make(
        defense: Defense | None = None, seed: int = 0, spec: ModelSpec = LENET, mode: str = "eval"
    ) -> Client:
        spec = spec if defense is None else defense.wrap_model(spec)
        model = build(spec, torch.Generator().manual_seed(5))
        images = torch.rand(
            4, spec.channels, spec.size, spec.size, generator=torch.Generator().manual_seed(1)
        )
        labels = torch.tensor([0, 1, 2, 1])
        training = LocalTraining("fedsgd", 4, 4, 1, 0.1, mode)
        noise = torch.Generator().manual_seed(seed)
        return Client(model, *split_state(model), images, labels, training, noise)

    return make
