"""Costs of a defense: the angle by which it turns updates, and the share of a round's progress that it leaves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.auditing.situations import Situation
from gradsiege.auditing.subject import Subject
from gradsiege.protocol.local_update import Tensors, apply_update, as_rows, loss
from gradsiege.protocol.observation import Observation


@dataclass(frozen=True)
class Cost:
    """The cost of a defense in one round; none of it is the accuracy of a federation that was trained with it.

    Attributes:
        defense: its name.
        norm: l2 norm of an upload over that of the undefended one, median over clients.
        cosine: cosine between both, median over clients.
        mean_cosine: the same for the means over all clients, where independent noise averages out.
        progress: decrease of the private pictures' loss by the server's step with the mean upload, over that without a defense; NaN where
            the undefended step does not decrease it.
        reason: why there is no number.
    """

    defense: str
    norm: float = math.nan
    cosine: float = math.nan
    mean_cosine: float = math.nan
    progress: float = math.nan
    reason: str = ""


def cost_of(subject: Subject, bare: Situation, defended: Situation, pictures: int) -> Cost:
    """Return the cost of a defense, from the same clients without and with it."""
    clients = subject.clients(bare, pictures)
    try:
        before, after = (subject.observed(place, clients) for place in (bare, defended))
    except Exception as error:
        # The code of a defense may be the user's own, and fail in any way; the page says how.
        return Cost(defended.name, reason=f"the defense failed: {type(error).__name__}: {error}")
    if set(before.update) != set(after.update):
        return Cost(
            defended.name,
            reason="the defense changes the network, so that updates cannot be compared",
        )
    clean, sent = flat(before), flat(after)
    if not bool(sent.isfinite().all()):
        return Cost(defended.name, reason="an upload holds a number that is not finite")
    images, labels = subject.truth(bare, clients)
    steps = [
        _decrease(before, mean_update(seen), images.flatten(0, 1), labels.flatten())
        for seen in (before, after)
    ]
    return Cost(
        defended.name,
        norm=float((sent.norm(dim=1) / clean.norm(dim=1)).median()),
        cosine=float(torch.cosine_similarity(sent, clean, dim=1).median()),
        mean_cosine=float(torch.cosine_similarity(sent.mean(0), clean.mean(0), dim=0)),
        progress=steps[1] / steps[0] if steps[0] > 0 else math.nan,
    )


def flat(seen: Observation) -> Tensor:
    """Return the updates of all clients as rows, ``[clients, coordinates]``."""
    return torch.cat([as_rows(value) for value in seen.update.values()], dim=1)


def mean_update(seen: Observation) -> Tensors:
    """Return the mean of the clients' updates.

    By name, each tensor of the shape of its parameter; those of the observation are ``[clients, ...]``.
    """
    return {name: value.mean(0) for name, value in seen.update.items()}


def _decrease(seen: Observation, update: Tensors, images: Tensor, labels: Tensor) -> float:
    """Return by how much a server's step decreases the loss of images."""
    assert seen.training is not None  # an observation that was simulated here holds its protocol
    network = seen.model.build()
    like = next(iter(seen.parameters.values()))
    with torch.no_grad():
        stepped = apply_update(seen.parameters, update, seen.training.learning_rate)
        values = [
            float(loss(network, parameters, seen.buffers, images.to(like), labels)[0])
            for parameters in (seen.parameters, stepped)
        ]
    return values[0] - values[1]
