"""The base of all priors: a frozen dataclass with a training budget, which learns from its owner's images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from gradsiege.priors.own_images import accepted
from gradsiege.priors.resumable import UNSAVED, Checkpointer
from gradsiege.priors.trained import refuse_divergence
from gradsiege.ranges import Checked
from gradsiege.seeds import torch_generator

Trained = tuple[dict[str, Tensor], dict[str, Any]]


@dataclass(frozen=True)
class TrainedPrior:
    """A trained prior, as `Prior.fit` returns it and attacks take it in `priors`.

    Attributes:
        name: of the prior, such as ``pca``.
        weights: all that `Prior.load` needs, tensors by name.
        card: numbers and text about the training.
    """

    name: str
    weights: dict[str, Tensor]
    card: dict[str, Any]

    def __repr__(self) -> str:
        """Say what the prior is, without its weights.

        >>> TrainedPrior("pca", {"mean": torch.zeros(3)}, {"images": 4})
        TrainedPrior(name='pca', tensors=1, numbers=3, card=['images'])
        """
        numbers = sum(value.numel() for value in self.weights.values())
        return f"TrainedPrior(name={self.name!r}, tensors={len(self.weights)}, numbers={numbers}, card={list(self.card)})"


@dataclass(frozen=True)
class Prior(Checked):
    """Base of all priors.

    A prior is a frozen dataclass. Its fields are its parameters, and their annotations are the ranges, which hold in study
    files and in Python. `train` returns weights, which are kept as a file; `load` turns them into the object that an attack uses.
    """

    name: ClassVar[str]
    # Whether it makes square images alone, and so learns from no others.
    square: ClassVar[bool] = False

    def train(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        checkpointer: Checkpointer = UNSAVED,
    ) -> Trained:
        """Train, and return (weights by name, card).

        Args:
            images: ``[n, c, h, w]`` in [0, 1], those of the attacker (`aux`) or of the defender (`public`).
            labels: ``[n]``.
            generator: the only source of randomness.
            checkpointer: resumes an interrupted training; every loop runs over its `steps`.

        Returns:
            The tensors that `load` needs; and numbers and text about the training, written to ``card.json``.
        """
        raise TypeError(f"{type(self).__name__} does not learn: define `train`")

    def fit(self, images: Any, labels: Any, seed: int = 0) -> TrainedPrior:
        """Train on the given images, and return the prior for an attack: ``attack(seen, priors=prior)``.

        Args:
            images: ``[n, c, h, w]`` in [0, 1], tensor or array.
            labels: ``[n]``, whole numbers from 0.
            seed: seed of all randomness of the training.

        Raises:
            ModelError: images and labels do not fit each other or the prior.
            GradSiegeError: the training diverged.
        """
        pictures, classes = accepted(self.name, asdict(self), images, labels, self.square)
        weights, card = self.train(pictures, classes, torch_generator(seed, self.name, "prior"))
        refuse_divergence(weights, self.name)
        return TrainedPrior(self.name, weights, card)

    @staticmethod
    def load(weights: dict[str, Tensor]) -> Any:
        """Return the object that the weights describe, frozen; all shapes are read from the weights."""
        raise TypeError("this prior cannot be loaded: define `load`")
