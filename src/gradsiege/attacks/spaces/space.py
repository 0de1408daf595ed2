"""What a search space is: it draws starting points, decodes them to images, and projects back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from gradsiege.attacks.variables import Variables

Again = Callable[[Variables, Tensor], Variables]


class Space(Protocol):
    """A search space; see `Pixels` for the simplest one."""

    def start(self, generator: torch.Generator) -> Variables:
        """Draw the starting point of one element."""

    def follow(self, before: Variables) -> Variables:
        """Return the starting points ``[n, ...]`` that continue an earlier phase's best variables."""

    def decode(self, x: Variables, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return one element's images ``[images, c, h, w]``, as the network sees them and in [0, 1].

        `labels` are the observed or inferred ones, ``[images]``.
        """

    def labels(self, x: Variables, labels: Tensor) -> Tensor:
        """Return the labels to match with: the given ones, unless the space optimises its own.

        ``[images]``, or ``[images, classes]`` for soft labels.
        """

    def project(self, x: Variables) -> Variables:
        """Return the nearest admissible points of ``[n, ...]`` elements."""
