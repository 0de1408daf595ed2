"""What a reconstruction must beat to mean anything: guesses that never use the update."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Control = Callable[[Tensor, Tensor, Tensor, Tensor, torch.Generator], Tensor]


def random_image(
    truths: Tensor, labels: Tensor, aux: Tensor, aux_labels: Tensor, generator: torch.Generator
) -> Tensor:
    """Return uniform noise: the floor of every metric."""
    return torch.rand(truths.shape, generator=generator)


def class_mean(
    truths: Tensor, labels: Tensor, aux: Tensor, aux_labels: Tensor, generator: torch.Generator
) -> Tensor:
    """Return the mean auxiliary image of the true class (of all classes where it has none)."""
    means = [
        aux[aux_labels == label].mean(0) if bool((aux_labels == label).any()) else aux.mean(0)
        for label in labels
    ]
    return torch.stack(means)


def aux_draw(
    truths: Tensor, labels: Tensor, aux: Tensor, aux_labels: Tensor, generator: torch.Generator
) -> Tensor:
    """Return a random auxiliary image of the true class: a prior sample without the gradient."""
    drawn = []
    for label in labels:
        members = (aux_labels == label).nonzero().flatten()
        if len(members) == 0:
            members = torch.arange(len(aux))
        drawn.append(aux[members[torch.randint(len(members), (), generator=generator)]])
    return torch.stack(drawn)


def nearest_aux(
    truths: Tensor, labels: Tensor, aux: Tensor, aux_labels: Tensor, generator: torch.Generator
) -> Tensor:
    """Return the auxiliary image closest to the truth: what memorising `aux` could give at best.

    It looks at the truth, so it is an upper bound on retrieval and no attack.
    """
    distances = torch.cdist(truths.double().flatten(1), aux.double().flatten(1))
    return aux[distances.argmin(1)]


CONTROLS: dict[str, Control] = {
    "control_random": random_image,
    "control_class_mean": class_mean,
    "control_aux_draw": aux_draw,
    "control_nearest_aux": nearest_aux,
}
