"""Rounds of FedAvg with a defense, from the choice of the clients to the next global model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from gradsiege.defenses.base import Client, Defense
from gradsiege.federated.client import run_client
from gradsiege.federated.cost import Cost
from gradsiege.federated.progress import Progress
from gradsiege.federated.server import evaluate, weighted_mean
from gradsiege.images import StoredImages
from gradsiege.protocol.local_update import LocalTraining, apply_update
from gradsiege.seeds import numpy_generator, torch_generator


class Settings(Protocol):
    """Settings of federated training, as in the section `federation` of a study."""

    @property
    def clients(self) -> int:
        """Number of clients."""

    @property
    def clients_per_round(self) -> int:
        """Number of clients drawn per round."""

    @property
    def rounds(self) -> int:
        """Number of rounds."""

    @property
    def early_round(self) -> int:
        """Rounds after which the model is kept as ``early``."""

    @property
    def local_epochs(self) -> int:
        """Passes of a client over its images per round."""

    @property
    def batch_size(self) -> int:
        """Images per local step."""

    @property
    def client_batches(self) -> Sequence[int]:
        """Images per local step of each client, or empty."""

    @property
    def learning_rate(self) -> float:
        """Learning rate of the first round."""

    @property
    def milestones(self) -> Sequence[int]:
        """Rounds at which the learning rate is multiplied by `decay`."""

    @property
    def decay(self) -> float:
        """Factor of the learning rate at each milestone."""


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
    """Return the local training of a client with `images` images in round `number`."""
    batch_sizes = settings.client_batches
    batch = min(batch_sizes[client] if batch_sizes else settings.batch_size, images)
    epochs, rate = settings.local_epochs, learning_rate(settings, number)
    return LocalTraining("fedavg", images, batch, epochs, rate, "train")


def participants(settings: Settings, seeds: tuple[object, ...], number: int) -> list[int]:
    """Draw the clients of a round, without replacement."""
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
        progress: the state of the federation, which the round changes.
        number: index of the round, from 0.
        model: the architecture.
        defense: the defense of every client.
        data: images ``[n, c, h, w]`` and labels ``[n]`` of all clients.
        shares: for each client the indices of its images in `data`.
        settings: settings of the federation.
        seeds: names that seed the choice of clients, the order of their images and their noise.
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


def measured_round(
    progress: Progress,
    number: int,
    model: nn.Module,
    defense: Defense,
    data: tuple[StoredImages, Tensor],
    test: tuple[Tensor, Tensor],
    shares: Sequence[np.ndarray],
    settings: Settings,
    seeds: tuple[object, ...],
) -> None:
    """Train one round, and record what it cost, its utility, and the model if it is the early one.

    Args:
        test: images ``[n, c, h, w]`` and labels ``[n]`` that utility is measured on; all others as in `run_round`.
    """
    with Cost() as cost:
        run_round(progress, number, model, defense, data, shares, settings, seeds)
    spent = {"seconds": cost.seconds, "peak_memory": cost.peak_memory}
    progress.costs.append({"round": number + 1, **spent})
    if not progress.failure:
        measured = evaluate(model, progress.parameters, progress.buffers, *test)
        progress.record(number + 1, measured)
    if number + 1 == settings.early_round:
        progress.early = (progress.parameters, progress.buffers)
