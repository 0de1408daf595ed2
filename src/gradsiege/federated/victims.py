"""Observations of victims: each victim runs the client loop, and its uploads become an observation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.defenses.base import Client, Defense
from gradsiege.federated.client import train_locally, upload
from gradsiege.federated.diagnostics import explain
from gradsiege.federated.later_rounds import later_rounds, progress_of
from gradsiege.models import build
from gradsiege.protocol.checkpoint import Checkpoint
from gradsiege.protocol.layer_inputs import batch_statistics
from gradsiege.protocol.local_update import LocalTraining, Tensors
from gradsiege.protocol.observation import Observation, stacked
from gradsiege.seeds import torch_generator


@dataclass(frozen=True)
class Observed:
    """The result of `run_victims`.

    Attributes:
        observation: what the server sees, labels included; a threat model strips it.
        trained_images: images that the victims trained on, ``[victims, images, c, h, w]``; those of the first pass.
        explanations: diagnostics of the first victims' models, see `federated.diagnostics`.
    """

    observation: Observation
    trained_images: Tensor
    explanations: list[Tensors]


def run_victims(
    checkpoint: Checkpoint,
    defense: Defense,
    training: LocalTraining,
    images: Tensor,
    labels: Tensor,
    seeds: tuple[object, ...],
    *,
    of_rounds: int = 1,
    rounds: int = 1,
    explained: int = 0,
) -> Observed:
    """Let every victim train at a global model and upload, in one round or in several.

    Args:
        checkpoint: the global model and its round.
        defense: the defense of all victims.
        training: their local training.
        images: ``[victims, images, c, h, w]`` in [0, 1]; labels: ``[victims, images]``.
        seeds: names that seed the defense's randomness, together with the victim.
        of_rounds: number of rounds of the whole federation.
        rounds: number of observed rounds.
        explained: number of victims with stored diagnostics.
    """
    model = build(checkpoint.model)
    updates, buffers, explanations, statistics, used, clients = [], [], [], [], [], []
    for victim in range(len(images)):
        client = Client(
            model=model,
            parameters=checkpoint.parameters,
            buffers=checkpoint.buffers,
            images=images[victim],
            labels=labels[victim],
            training=training,
            generator=torch_generator(*seeds, "victim", victim),
            round=checkpoint.round,
            rounds=of_rounds,
        )
        trained = train_locally(client, defense)
        sent = upload(*trained, client, defense)
        updates.append(sent[0])
        buffers.append(sent[1])
        clients.append(client)
        used.append(torch.cat(client.trained)[: images.shape[1]])
        if victim < explained:
            explanations.append(explain(client, trained, sent))
        state = {**checkpoint.parameters, **checkpoint.buffers}
        statistics.append(batch_statistics(model.eval(), state, images[victim]))
    later = later_rounds(clients, defense, (updates, buffers), rounds - 1, seeds)
    observation = Observation.of_updates(
        checkpoint.model,
        checkpoint.parameters,
        checkpoint.buffers,
        stacked(updates),
        training,
        disclosure=defense.disclosure(),
        labels=labels,
        statistics=stacked(statistics),
        later=later,
        progress=progress_of(clients[0], len(later)),
        failure=checkpoint.failure,
    )
    return Observed(observation, torch.stack(used), explanations)


def chosen_victims(
    images: Tensor, labels: Tensor, count: int, per_victim: int, *, duplicates: bool
) -> tuple[Tensor, Tensor]:
    """Return the first images of the role and their labels: ``[victims, images, c, h, w]`` and ``[victims, images]``.

    The role cycles through the classes, so that a batch of at most as many images as classes has distinct labels. With
    `duplicates` the same images are sorted by class first, so that labels repeat.
    """
    images, labels = images[: count * per_victim], labels[: count * per_victim]
    if duplicates:
        order = labels.argsort(stable=True)
        images, labels = images[order], labels[order]
    shape = (count, per_victim)
    return images.reshape(*shape, *images.shape[1:]), labels.reshape(shape)
