"""What a defense is: hooks that the one client loop calls in a fixed order.

Every hook is a pure function of its arguments and of the client's explicit generator. State that must
outlive a round lives in ``client.state``, which is checkpointed with the client.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gradsiege.models import ModelSpec
from gradsiege.protocol.local_update import LocalTraining, Step, Tensors, apply_update


@dataclass
class Client:
    """The client of one round, as a defense sees it.

    Attributes:
        model: architecture (its own values are not used).
        parameters, buffers: the global state theta_t that the client downloaded.
        images, labels: its private data, ``[n, c, h, w]`` in [0, 1] and ``[n]``.
        training: its local protocol.
        generator: the only source of randomness.
        round, rounds: position in the federation.
        state: tensors that survive from round to round, per client.
        trained: the batches that its local steps were really taken on, in order; the client loop fills it in.
    """

    model: nn.Module
    parameters: Tensors
    buffers: Tensors
    images: Tensor
    labels: Tensor
    training: LocalTraining
    generator: torch.Generator
    round: int = 0
    rounds: int = 1
    state: dict[str, Tensor] = field(default_factory=dict)
    trained: list[Tensor] = field(default_factory=list)

    def local_parameters(self, update: Tensors) -> Tensors:
        """Return the parameters after local training, theta_t - learning_rate * update."""
        return apply_update(self.parameters, update, self.training.learning_rate)


class Defense:
    """Base of all defenses: every hook leaves its argument alone."""

    name = "none"

    def wrap_model(self, spec: ModelSpec) -> ModelSpec:
        """Change the architecture before the federation starts (PRECODE); checkpoints and observations say so."""
        return spec

    def transform_batch(
        self, images: Tensor, labels: Tensor, step: Step, client: Client
    ) -> tuple[Tensor, Tensor]:
        """Change the batch of a local step (Shadow, ATS)."""
        return images, labels

    def transform_gradient(self, gradient: Tensors, step: Step, client: Client) -> Tensors:
        """Change the gradient of a local step (DP-SGD, Soteria, PRECODE)."""
        return gradient

    def transform_buffers(self, buffers: Tensors, update: Tensors, client: Client) -> Tensors:
        """Change the batch-norm buffers before they are uploaded; `update` is still the trained one (TIP as released)."""
        return buffers

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Change the update before it is uploaded (noise, clipping, sparsification, TIP)."""
        return update

    def disclosure(self) -> dict[str, Any]:
        """Return the public parameters: what an attacker who knows the defense may know."""
        return {"defense": self.name}
