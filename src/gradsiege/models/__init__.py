"""Victim classifiers: one frozen dataclass each, over one small base.

`gradsiege.models.LeNet(channels=12).build(10, channels=3, size=32)` makes a network in Python, `build` makes one from an
entry of a study file. A model is imported when it is first used.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from gradsiege import catalogue

if TYPE_CHECKING:
    import torch
    from torch import nn

    from gradsiege.models.base import Model


class Architecture(Protocol):
    """A network without its weights: `ModelSpec`, or `adapted.AdaptedModel` for a user's own network."""

    @property
    def classes(self) -> int:
        """Length of the logits."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""

    def build(self) -> nn.Module:
        """Return a new network, in evaluation mode."""

    def describe(self) -> dict[str, Any]:
        """Return plain data that identifies the architecture."""


@dataclass(frozen=True)
class ModelSpec:
    """What is needed to rebuild an architecture.

    Attributes:
        name, parameters: of the network.
        classes: length of the logits.
        channels, size: of the images; they are square.
        bottleneck: units of a variational bottleneck before the head (PRECODE), 0 for none.
    """

    name: str
    parameters: dict[str, Any]
    classes: int
    channels: int
    size: int
    bottleneck: int = 0

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return (self.channels, self.size, self.size)

    def build(self) -> nn.Module:
        """Return the network, its weights drawn from a fixed seed."""
        return build(self)

    def describe(self) -> dict[str, Any]:
        """Return the fields as plain data."""
        return asdict(self)


def build(spec: ModelSpec, generator: torch.Generator | None = None) -> nn.Module:
    """Return the network of `spec`, its weights drawn from `generator`.

    Every model maps images ``[n, channels, size, size]`` in [0, 1] to logits ``[n, classes]``; it normalises its
    input itself, with buffers that are part of its state, so client and attacker can never disagree
    about normalisation. The last layer is linear, whatever it is called (`gradsiege.models.head`). A bottleneck draws its
    weights last, so that all other weights are the same with and without it.

    A network may begin from published weights (``begin_``). They are read only where weights are drawn: without a
    `generator` the caller has a checkpoint's weights to put in, and needs no weight file.
    """
    import torch

    from gradsiege.models.bottleneck import insert_bottleneck
    from gradsiege.models.head import find_head, probe_images
    from gradsiege.models.layers import Classifier, allocate, initialize

    entry = catalogue.lookup("models", spec.name, "the model")
    chosen: Model = catalogue.implementation(entry)(**spec.parameters)
    with torch.device("meta"):
        body = chosen.network(spec.classes, spec.channels, spec.size)
        model = Classifier(body, spec.channels)
    allocate(model)
    drawn = generator or torch.Generator().manual_seed(0)
    initialize(model, drawn)
    begin = getattr(body, "begin_", None)
    if generator is not None and callable(begin):
        begin()
    if spec.bottleneck:
        head = find_head(model, probe_images(spec.image_shape)[:1])
        insert_bottleneck(model, head.layer, spec.bottleneck, drawn)
    return model.eval()


def __getattr__(name: str) -> Any:
    """Import a model by the name of its class."""
    return catalogue.attribute("models", name)


def __dir__() -> list[str]:
    """Name every model."""
    return catalogue.classes("models")
