"""Clients whose private images are the attacker's own: what it would have received, had they sent it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gradsiege.attacks.knowledge import Knowledge
from gradsiege.errors import MissingError, ThreatModelError
from gradsiege.protocol.layer_inputs import batch_statistics
from gradsiege.protocol.observation import Observation, Round, stacked
from gradsiege.protocol.simulation import Simulate
from gradsiege.protocol.threat_model import strip
from gradsiege.seeds import torch_generator

NO_DEFENSE = {"defense": "none"}


def as_known(seen: Observation) -> Observation:
    """Return the observation as one of the defense that the attacker takes clients to have: none, if it is not disclosed."""
    return replace(seen, disclosure=seen.disclosure or NO_DEFENSE)


def simulated_clients(
    knowledge: Knowledge,
    images: Tensor,
    labels: Tensor,
    simulates: Sequence[Simulate],
    seed: tuple[object, ...],
) -> Knowledge:
    """Return the knowledge of an attacker who meets clients with these images instead of its victims.

    All that the threat model grants of victims is granted of the clients, and nothing else: labels, statistics of their batches,
    several rounds. The global model is the observed one.

    Args:
        knowledge: what the attacker has; nothing that came from its victims is looked at.
        images: its own, ``[clients * images_per_client, c, h, w]`` in [0, 1].
        labels: ``[clients * images_per_client]``.
        simulates: for every round that is granted, the client loop at its model (`gradsiege.federated.simulation`).
        seed: names that seed the clients' randomness.

    Raises:
        ThreatModelError: the local protocol is not granted, or the images have another shape than the private ones.
        MissingError: a round is left without a simulation.
    """
    seen = knowledge.observation.to(torch.device("cpu"))
    training = seen.training
    if training is None:
        raise ThreatModelError(
            "clients are simulated by their local protocol, which the threat model does not grant"
        )
    if tuple(images.shape[1:]) != seen.image_shape:
        raise ThreatModelError(
            f"the attacker's own images have shape {list(images.shape[1:])}, the private ones {list(seen.image_shape)}; "
            "give images of their shape"
        )
    rounds = seen.rounds()
    if len(simulates) != len(rounds):
        raise MissingError(f"{len(rounds)} rounds are granted and {len(simulates)} simulated")
    per_client = seen.images_per_client
    images = images.to(next(iter(seen.parameters.values())).dtype)
    batches = list(zip(images.split(per_client), labels.split(per_client), strict=True))
    uploads = [
        stacked(
            [
                simulate(batch, classes, torch_generator(*seed, "client", client, "round", number))
                for client, (batch, classes) in enumerate(batches)
            ]
        )
        for number, simulate in enumerate(simulates)
    ]
    state = {**seen.parameters, **seen.buffers}
    statistics = [batch_statistics(seen.model.build(), state, batch) for batch, _ in batches]
    observation = Observation.of_updates(
        seen.model,
        seen.parameters,
        seen.buffers,
        uploads[0],
        training,
        disclosure=seen.disclosure,
        labels=labels.view(-1, per_client),
        statistics=stacked(statistics),
        later=tuple(
            Round(round_.parameters, round_.buffers, upload)
            for round_, upload in zip(rounds[1:], uploads[1:], strict=True)
        ),
        progress=seen.progress,
    )
    # A gallery of candidates would hold the victims; attacks that choose from one have no settings to choose.
    granted = strip(observation, replace(knowledge.threat, candidates=False))
    return replace(knowledge, observation=granted.to(knowledge.device))
