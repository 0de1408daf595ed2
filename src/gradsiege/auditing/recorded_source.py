"""Recorded updates as the source of an audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from gradsiege import artifacts
from gradsiege.auditing.situations import Situation
from gradsiege.models.adapted import AdaptedModel
from gradsiege.models.head import probe_images
from gradsiege.protocol.observation import Observation


@dataclass(frozen=True, eq=False)
class RecordedUpdates:
    """The source of an audit whose updates were recorded; it has no pictures."""

    network: nn.Module
    seen: Observation
    architecture: AdaptedModel
    seed: int
    networks: Mapping[str, nn.Module] = field(init=False)

    def __post_init__(self) -> None:
        """Name the only stage."""
        object.__setattr__(self, "networks", {"recorded": self.network})

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self.seen.model.classes

    @property
    def count(self) -> int:
        """Number of private pictures that the clients held, in total."""
        return self.seen.victims * self.seen.images_per_client

    @property
    def has_pictures(self) -> bool:
        """False: a server holds updates alone."""
        return False

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a picture."""
        return self.seen.image_shape

    def adapted(self, stage: str) -> AdaptedModel:
        """Return the network that the clients started from."""
        return self.architecture

    def network_of(self, situation: Situation) -> nn.Module:
        """Return the network that the clients started from, whatever the defense."""
        return self.network

    def tells_labels(self, stage: str) -> bool:
        """Return True: a record holds no labels that could be given."""
        return True

    def clients(self, situation: Situation, pictures: int) -> int:
        """Return the number of clients that hold so many pictures; at least one."""
        return max(1, min(pictures, self.count) // situation.training.images)

    def observed(self, situation: Situation, clients: int) -> Observation:
        """Return the updates of the first clients."""
        cut = {name: value[:clients] for name, value in self.seen.update.items()}
        return replace(self.seen, update=cut)

    def identity(self) -> dict[str, str]:
        """Return digests of network, updates, size of the pictures and seed."""
        with torch.no_grad():
            logits = self.architecture.build().eval()(probe_images(self.image_shape))
        tensors = {f"parameters.{name}": value for name, value in self.seen.parameters.items()}
        tensors |= {f"buffers.{name}": value for name, value in self.seen.buffers.items()}
        return {
            "network": artifacts.tensors_digest(tensors | {"logits": logits}, {}),
            "size of the pictures": artifacts.json_digest(list(self.image_shape)),
            "updates": artifacts.tensors_digest(self.seen.update, {}),
            "seed": artifacts.json_digest(self.seed),
        }
