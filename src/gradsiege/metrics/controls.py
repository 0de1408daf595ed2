"""Controls: guesses without the update, which a reconstruction must beat to mean anything.

All of them take images and labels of the truth and of the auxiliary data, ``[n, c, h, w]`` in [0, 1] with ``[n]`` and
``[m, c, h, w]`` in [0, 1] with ``[m]``, and a random generator, and return images ``[n, c, h, w]`` in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Control = Callable[[Tensor, Tensor, Tensor, Tensor, torch.Generator], Tensor]


def random_image(
    truths: Tensor, labels: Tensor, aux: Tensor, aux_labels: Tensor, generator: torch.Generator
) -> Tensor:
    """Return uniform noise in [0, 1) of the truths' shape, the floor of every metric.

    >>> labels, generator = torch.zeros(2), torch.Generator().manual_seed(0)
    >>> random_image(torch.zeros(2, 3, 4, 4), labels, torch.zeros(5, 3, 4, 4), torch.zeros(5), generator).shape
    torch.Size([2, 3, 4, 4])
    """
    return torch.rand(truths.shape, generator=generator)


def class_mean(
    truths: Tensor, labels: Tensor, aux: Tensor, aux_labels: Tensor, generator: torch.Generator
) -> Tensor:
    """Return the mean auxiliary image of the true class, or of all classes if the class has no auxiliary image.

    >>> aux, generator = torch.tensor([0.25, 0.75, 0.5]).reshape(3, 1, 1, 1), torch.Generator()
    >>> truths, labels = torch.zeros(2, 1, 1, 1), torch.tensor([0, 9])
    >>> class_mean(truths, labels, aux, torch.tensor([0, 0, 1]), generator).flatten().tolist()
    [0.5, 0.5]
    """
    means = [
        aux[aux_labels == label].mean(0) if bool((aux_labels == label).any()) else aux.mean(0)
        for label in labels
    ]
    return torch.stack(means)


def aux_draw(
    truths: Tensor, labels: Tensor, aux: Tensor, aux_labels: Tensor, generator: torch.Generator
) -> Tensor:
    """Return a random auxiliary image of the true class, or of any class if the class has none: a sample of the prior.

    >>> aux, generator = torch.tensor([0.25, 0.75]).reshape(2, 1, 1, 1), torch.Generator()
    >>> truths, labels = torch.zeros(2, 1, 1, 1), torch.tensor([1, 0])
    >>> aux_draw(truths, labels, aux, torch.tensor([0, 1]), generator).flatten().tolist()
    [0.75, 0.25]
    """
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
    """Return the auxiliary image with the smallest l2 distance to the truth, the upper bound for an attacker who memorised `aux`.

    It looks at the truth, so it is not an attack.

    >>> aux, generator = torch.tensor([0.25, 0.75]).reshape(2, 1, 1, 1), torch.Generator()
    >>> truths, labels = torch.tensor([0.9, 0.1]).reshape(2, 1, 1, 1), torch.tensor([0, 0])
    >>> nearest_aux(truths, labels, aux, torch.tensor([0, 1]), generator).flatten().tolist()
    [0.75, 0.25]
    """
    distances = torch.cdist(truths.double().flatten(1), aux.double().flatten(1))
    return aux[distances.argmin(1)]


CONTROLS: dict[str, Control] = {
    "control_random": random_image,
    "control_class_mean": class_mean,
    "control_aux_draw": aux_draw,
    "control_nearest_aux": nearest_aux,
}
