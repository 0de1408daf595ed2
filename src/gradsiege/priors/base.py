"""What a prior is: a training budget as a frozen dataclass, which learns from images that its owner has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from gradsiege.priors.resumable import UNSAVED, Checkpointer
from gradsiege.ranges import Checked

Trained = tuple[dict[str, Tensor], dict[str, Any]]


@dataclass(frozen=True)
class Prior(Checked):
    """Base of all priors.

    A prior is a frozen dataclass. Its fields are its parameters, their annotations the ranges, and both stand in study
    files and in Python alike. `train` returns weights, which are kept as a file; `load` turns them into the object that an attack uses.
    """

    name: ClassVar[str]

    def train(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        checkpointer: Checkpointer = UNSAVED,
    ) -> Trained:
        """Return (weights by name, card) of what was learned.

        Args:
            images: ``[n, c, h, w]`` in [0, 1], those of the attacker (`aux`) or of the defender (`public`).
            labels: ``[n]``.
            generator: the only source of randomness.
            checkpointer: takes the training up again where it was left; every loop goes through its `steps`.

        Returns:
            Tensors, all that `load` needs; and numbers and words about the training, which end in ``card.json``.
        """
        raise TypeError(f"{type(self).__name__} does not learn: define `train`")

    @staticmethod
    def load(weights: dict[str, Tensor]) -> Any:
        """Return what the weights stand for, frozen; all shapes are read from the weights."""
        raise TypeError("this prior cannot be loaded: define `load`")
