"""Partitions of the training images over the clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Settings(Protocol):
    """How images are dealt, as in the section `federation` of a study."""

    @property
    def partition(self) -> str:
        """``iid``, ``dirichlet`` or ``sizes``."""

    @property
    def clients(self) -> int:
        """Number of clients."""

    @property
    def client_images(self) -> Sequence[int]:
        """Images of each client (``sizes``)."""

    @property
    def alpha(self) -> float:
        """Concentration of the classes' shares (``dirichlet``)."""


def partition(
    labels: np.ndarray, settings: Settings, generator: np.random.Generator
) -> list[np.ndarray]:
    """Return the indices of each client's images, dealt as the settings say.

    >>> from types import SimpleNamespace
    >>> settings = SimpleNamespace(partition="iid", clients=2, client_images=[], alpha=1.0)
    >>> [len(share) for share in partition(np.array([0, 1, 0, 1]), settings, np.random.default_rng(0))]
    [2, 2]
    """
    if settings.partition == "iid":
        return iid(labels, settings.clients, generator)
    if settings.partition == "sizes":
        return sizes(labels, settings.client_images, generator)
    return dirichlet(labels, settings.clients, settings.alpha, generator)


def iid(labels: np.ndarray, clients: int, generator: np.random.Generator) -> list[np.ndarray]:
    """Return one index array per client: a random equal share of all images."""
    return [np.sort(part) for part in np.array_split(generator.permutation(len(labels)), clients)]


def sizes(
    labels: np.ndarray, wanted: Sequence[int], generator: np.random.Generator
) -> list[np.ndarray]:
    """Return one index array per client with the wanted number of images, with the classes as balanced as possible.

    Images are dealt in turns of one image per class, without the classes that are used up. Remaining images stay unused.
    """
    order = generator.permutation(len(labels))
    turn = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = labels[order] == label
        turn[members] = np.arange(members.sum())
    # Within a turn the classes come in random order.
    dealt = order[np.lexsort((generator.permutation(len(labels)), turn))][: sum(wanted)]
    return [np.sort(part) for part in np.split(dealt, np.cumsum(wanted)[:-1])]


def dirichlet(
    labels: np.ndarray, clients: int, alpha: float, generator: np.random.Generator
) -> list[np.ndarray]:
    """Return one index array per client, class shares drawn from Dirichlet(alpha) (Hsu et al., 2019).

    Every image goes to exactly one client. A client without images takes one from the client with the most.
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
