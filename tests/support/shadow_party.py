"""A client with a model and four images to defend by Shadow, random generator weights, and a Shadow that keeps its batches."""

from typing import Any

import torch
from torch import Tensor

from gradsiege.defenses.base import Client
from gradsiege.defenses.shadow import Shadow
from gradsiege.federated.client import run_client
from gradsiege.models import ModelSpec, build
from gradsiege.models.layers import initialize
from gradsiege.priors.shadow_generator import ShadowGeneratorNetwork
from gradsiege.protocol.local_update import LocalTraining, Step, Tensors, split_state

CHEAP = {"shadow_steps": 2, "latent_steps": 5}
ONE_STEP = LocalTraining("fedavg", 4, 4, 1, 0.1, "train")


def generator_weights() -> Tensors:
    network = ShadowGeneratorNetwork(8, 4, 3, 16)
    initialize(network, torch.Generator().manual_seed(7))
    return dict(network.state_dict())


def make_client(
    round_number: int = 0,
    training: LocalTraining = ONE_STEP,
    state: dict[str, Tensor] | None = None,
    order: tuple[int, ...] = (0, 1, 2, 3),
) -> Client:
    model = build(ModelSpec("convnet", {"width": 4}, 3, 3, 16), torch.Generator().manual_seed(0))
    parameters, buffers = split_state(model)
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 2, 1])
    return Client(
        model=model,
        parameters=parameters,
        buffers=buffers,
        images=images[list(order)],
        labels=labels[list(order)],
        training=training,
        generator=torch.Generator().manual_seed(2),
        round=round_number,
        rounds=100,
        state={} if state is None else state,
    )


class Watched(Shadow):
    """Keeps the batches of the true steps."""

    def transform_batch(
        self, images: Tensor, labels: Tensor, step: Step, client: Client
    ) -> tuple[Tensor, Tensor]:
        perturbed, same = super().transform_batch(images, labels, step, client)
        self.batches = [*getattr(self, "batches", []), perturbed]
        return perturbed, same


def perturbed(client: Client, weights: Tensors, **settings: Any) -> Tensor:
    defense = Watched(**{**CHEAP, **settings}, pretrained=weights)
    run_client(client, defense)
    return torch.cat(defense.batches)
