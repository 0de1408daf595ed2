"""How the training images are spread over the clients."""

from __future__ import annotations

import numpy as np


def iid(labels: np.ndarray, clients: int, generator: np.random.Generator) -> list[np.ndarray]:
    """Return one index array per client: a random equal share of all images."""
    return [np.sort(part) for part in np.array_split(generator.permutation(len(labels)), clients)]


def sizes(
    labels: np.ndarray, wanted: list[int], generator: np.random.Generator
) -> list[np.ndarray]:
    """Return one index array per client with the wanted number of images, every class as often as can be.

    The classes take turns, one image of each and then again, until one is used up; what is left over goes to nobody.
    """
    order = generator.permutation(len(labels))
    turn = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        own = labels[order] == label
        turn[own] = np.arange(own.sum())
    # Within a turn the classes come in random order.
    dealt = order[np.lexsort((generator.permutation(len(labels)), turn))][: sum(wanted)]
    return [np.sort(part) for part in np.split(dealt, np.cumsum(wanted)[:-1])]


def dirichlet(
    labels: np.ndarray, clients: int, alpha: float, generator: np.random.Generator
) -> list[np.ndarray]:
    """Return one index array per client, class shares drawn from Dirichlet(alpha) (Hsu et al., 2019).

    Every image goes to exactly one client. A client left without any image takes one from the largest.
    """
    shares: list[list[int]] = [[] for _ in range(clients)]
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        cuts = np.cumsum(generator.dirichlet(np.full(clients, alpha)))[:-1] * len(members)
        for share, part in zip(shares, np.split(members, cuts.astype(int)), strict=True):
            share.extend(part.tolist())
    for share in shares:
        if not share:
            share.append(max(shares, key=len).pop())
    return [np.sort(np.array(share, dtype=np.int64)) for share in shares]
