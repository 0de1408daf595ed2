"""Where the updates of an audit come from: simulated clients on the user's pictures, or a server's record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import nn

from gradsiege.auditing.situations import Situation
from gradsiege.errors import StudyError
from gradsiege.models.adapted import AdaptedModel
from gradsiege.models.head import head_of
from gradsiege.protocol.observation import Observation


class Source(Protocol):
    """The updates of some clients in every situation, and the networks that they started from."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The networks by stage of training."""

    @property
    def seed(self) -> int:
        """Seed of all randomness."""

    @property
    def classes(self) -> int:
        """Number of logits."""

    @property
    def count(self) -> int:
        """Number of private pictures."""

    @property
    def has_pictures(self) -> bool:
        """Whether the private pictures are there, to be hidden in a gallery of candidates."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""

    def adapted(self, stage: str) -> AdaptedModel:
        """Return the network of a stage as attacks take it."""

    def network_of(self, situation: Situation) -> nn.Module:
        """Return the network of which clients send updates, which some defenses enlarge."""

    def tells_labels(self, stage: str) -> bool:
        """Return whether the network of a stage ends in a linear layer, off which labels are read."""

    def clients(self, situation: Situation, pictures: int) -> int:
        """Return the number of clients that hold `pictures` pictures together."""

    def observed(self, situation: Situation, clients: int) -> Observation:
        """Return what the server sees of the first clients in a situation."""

    def identity(self) -> dict[str, str]:
        """Return digests of all that results depend on by its name in words, the situations and the budget aside."""


def has_linear_head(architecture: AdaptedModel) -> bool:
    """Return whether the logits of a network come out of a linear layer."""
    network = architecture.build()
    try:
        head_of(architecture, {**dict(network.named_parameters()), **dict(network.named_buffers())})
    except StudyError:
        return False
    return True


def update_bytes(network: nn.Module) -> int:
    """Return the size of one client's update in float32.

    >>> update_bytes(nn.Linear(3, 2))
    32
    """
    return 4 * sum(value.numel() for value in network.parameters() if value.requires_grad)
