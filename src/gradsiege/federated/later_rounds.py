"""Further rounds of the victims of an observation: the same clients on the same images at the next global models.

The victims of a cell are the cohort of these rounds. After each round the server takes the mean of their uploads, as in
a federation, and the next round begins at the new global model, which the server knows. The server is honest: it sends
each model once. A client keeps its state from round to round, and its defense draws fresh noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gradsiege.defenses.base import Client, Defense
from gradsiege.federated.client import run_client
from gradsiege.federated.server import weighted_mean
from gradsiege.protocol.local_update import Tensors, apply_update
from gradsiege.protocol.observation import Round, stacked
from gradsiege.seeds import torch_generator

Sent = tuple[list[Tensors], list[Tensors]]


def later_rounds(
    clients: Sequence[Client], defense: Defense, sent: Sent, count: int, seeds: tuple[object, ...]
) -> tuple[Round, ...]:
    """Return `count` further rounds.

    Args:
        clients: the victims after the first round, with their state.
        defense: the defense of all clients.
        sent: their uploads in the first round, updates and batch-norm buffers.
        count: number of rounds after the first one.
        seeds: names that seed the defense's randomness, together with the victim and the round.
    """
    rounds = []
    current, weights = list(clients), [len(client.images) for client in clients]
    for number in range(1, count + 1):
        rate = current[0].training.learning_rate
        step = weighted_mean(sent[0], weights)
        parameters = apply_update(current[0].parameters, step, rate)
        buffers = weighted_mean(sent[1], weights)
        current = [
            replace(
                client,
                parameters=parameters,
                buffers=buffers,
                generator=torch_generator(*seeds, "victim", victim, "round", number),
                round=client.round + 1,
                trained=[],
            )
            for victim, client in enumerate(current)
        ]
        uploads = [run_client(client, defense) for client in current]
        sent = [update for update, _ in uploads], [after for _, after in uploads]
        rounds.append(Round(parameters, buffers, stacked(sent[0])))
    return tuple(rounds)


def progress_of(first: Client, later: int) -> tuple[float, ...]:
    """Return t / R (round over number of rounds) of all rounds; empty if there are no later ones.

    >>> client = Client(None, {}, {}, None, None, None, None, round=3, rounds=10)
    >>> progress_of(client, 2), progress_of(client, 0)
    ((0.3, 0.4, 0.5), ())
    """
    if not later:
        return ()
    return tuple((first.round + number) / first.rounds for number in range(later + 1))
