"""Rounds of FedAvg with a defense, from drawing the clients to the next global model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from gradsiege.defenses.base import Client, Defense
from gradsiege.federated.client import run_client
from gradsiege.federated.progress import Progress
from gradsiege.federated.server import weighted_mean
from gradsiege.images import StoredImages
from gradsiege.protocol.local_update import LocalTraining, apply_update
from gradsiege.seeds import numpy_generator, torch_generator


class Settings(Protocol):
    """How a federation trains; a study's section of that name has these."""

    @property
    def clients(self) -> int:
        """Clients in all."""

    @property
    def clients_per_round(self) -> int:
        """Clients that are drawn for a round."""

    @property
    def rounds(self) -> int:
        """Rounds in all."""

    @property
    def local_epochs(self) -> int:
        """Passes of a client over its images in a round."""

    @property
    def batch_size(self) -> int:
        """Images of a local step."""

    @property
    def client_batches(self) -> Sequence[int]:
        """The same for each client, or nothing."""

    @property
    def learning_rate(self) -> float:
        """Rate of the first round."""

    @property
    def milestones(self) -> Sequence[int]:
        """Rounds from which the rate is multiplied by `decay`, once more each."""

    @property
    def decay(self) -> float:
        """Factor of the rate."""


def learning_rate(settings: Settings, number: int) -> float:
    """Return the rate of a round, counted from 0: multiplied by `decay` at every milestone that it has reached.

    >>> from types import SimpleNamespace
    >>> settings = SimpleNamespace(learning_rate=0.01, milestones=[40, 80], decay=0.1)
    >>> [round(learning_rate(settings, number), 6) for number in (0, 39, 40, 79, 80)]
    [0.01, 0.01, 0.001, 0.001, 0.0001]
    """
    reached = sum(milestone <= number for milestone in settings.milestones)
    return float(settings.learning_rate * settings.decay**reached)


def local_training(settings: Settings, client: int, number: int, images: int) -> LocalTraining:
    """Return the local work of a client with so many images in a round."""
    own = settings.client_batches
    batch = min(own[client] if own else settings.batch_size, images)
    epochs, rate = settings.local_epochs, learning_rate(settings, number)
    return LocalTraining("fedavg", images, batch, epochs, rate, "train")


def participants(settings: Settings, seeds: tuple[object, ...], number: int) -> list[int]:
    """Draw the clients of a round without replacement."""
    generator = numpy_generator(*seeds, "round", number)
    drawn = generator.choice(settings.clients, settings.clients_per_round, replace=False)
    return sorted(int(client) for client in drawn)


def run_round(
    progress: Progress,
    number: int,
    model: nn.Module,
    defense: Defense,
    data: tuple[StoredImages, Tensor],
    shares: Sequence[np.ndarray],
    settings: Settings,
    seeds: tuple[object, ...],
) -> None:
    """Train one round; a non-finite model ends the federation and is recorded as its failure.

    Args:
        progress: the federation so far, which the round changes.
        number: of the round, from 0.
        model: the architecture.
        defense: of every client.
        data: images ``[n, c, h, w]`` and labels ``[n]`` of all clients.
        shares: of each client, the places of its images in `data`.
        settings: of the federation.
        seeds: names that clients, their order of images and their noise are drawn from.
    """
    updates, buffers, weights = [], [], []
    for index in participants(settings, seeds, number):
        names = (*seeds, "client", index, "round", number)
        share = torch.from_numpy(shares[index])
        order = torch.randperm(len(share), generator=torch_generator(*names, "order"))
        share = share[order]
        client = Client(
            model=model,
            parameters=progress.parameters,
            buffers=progress.buffers,
            images=data[0][share],
            labels=data[1][share],
            training=local_training(settings, index, number, len(share)),
            generator=torch_generator(*names, "defense"),
            round=number,
            rounds=settings.rounds,
            state=progress.states.setdefault(index, {}),
        )
        update, after = run_client(client, defense)
        updates.append(update)
        buffers.append(after)
        weights.append(len(share))
    mean = weighted_mean(updates, weights)
    if not all(bool(torch.isfinite(value).all()) for value in mean.values()):
        progress.failure = f"training diverged in round {number + 1}: the update is not finite"
        return
    progress.parameters = apply_update(progress.parameters, mean, learning_rate(settings, number))
    progress.buffers = weighted_mean(buffers, weights)
    progress.round = number + 1
