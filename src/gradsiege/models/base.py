"""The base of all victim models: a frozen dataclass of sizes, which builds a network for given images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

from gradsiege.models import ModelSpec, build
from gradsiege.ranges import Checked

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Model(Checked):
    """Base of all models that a study file may name.

    A model is a frozen dataclass. Its fields are its parameters, and their annotations are the ranges, which hold in study
    files and in Python. The attacks and `gradsiege.observe` take any network; only study files need a `Model`.
    """

    name: ClassVar[str]

    def network(self, classes: int, channels: int, size: int) -> nn.Module:
        """Return the network from normalised images ``[n, channels, size, size]`` to logits ``[n, classes]``.

        It is called on PyTorch's meta device: `build` draws the weights afterwards, by the module's ``initialize_`` where it
        has one (`gradsiege.models.layers`).

        Raises:
            ValueError: the network cannot be made for this size.
        """
        raise TypeError(
            f"{type(self).__name__} has no network: define `network(self, classes, channels, size)`"
        )

    def build(
        self, classes: int, channels: int, size: int, generator: torch.Generator | None = None
    ) -> nn.Module:
        """Return the network for images ``[n, channels, size, size]`` in [0, 1], its weights drawn from `generator`.

        Without a generator the weights come from a fixed seed.
        """
        spec = ModelSpec(self.name, asdict(self), classes, channels, size)
        return build(spec, generator)
