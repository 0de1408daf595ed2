"""The base of all defenses: hooks that the client loop calls in a fixed order.

Every hook is a pure function of its arguments and of the client's random generator. State that lasts
longer than a round belongs in ``client.state``, which is checkpointed with the client.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from gradsiege.models import ModelSpec
from gradsiege.protocol.local_update import LocalTraining, Step, Tensors, apply_update
from gradsiege.ranges import Checked, is_given

Arm = Literal["faithful", "as_released"]


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
        state: tensors that the client keeps from round to round.
        trained: the batches of its local steps after the defense, in order; the client loop fills it in.
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
        """Return the parameters after local training, theta_t - learning_rate * update.

        Takes and returns tensors by name, each of the shape of its parameter.
        """
        return apply_update(self.parameters, update, self.training.learning_rate)


class Defense(Checked):
    """Base of all defenses: by default every hook returns its argument unchanged.

    A defense is a frozen dataclass. Its fields are its parameters, with their ranges as annotations, and both hold in study
    files and in Python alike. A defense that was published with code has a field `arm`: ``faithful`` to its paper, or
    ``as_released`` with all known defects. Each defect is a boolean parameter, named in `switches`, so that
    its effect can be measured alone; None means that it follows the arm.

    Hooks name tensors as observations do. A `torch.nn.Module` of your own is held as the part ``body`` of the network that clients
    train, so its ``fc.weight`` is ``update["body.fc.weight"]`` to every hook, and ``update["fc.weight"]`` a KeyError; ``list(update)``
    names all. Networks of `gradsiege.models` in a study have their own names, without ``body``. Frozen parameters are among the buffers.
    """

    name: ClassVar[str] = "none"
    switches: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        """Name a defense after its class, unless it has a name."""
        if "name" not in vars(cls):
            cls.name = cls.__name__

    def __post_init__(self) -> None:
        """Check the parameters, then set every open switch: off in the faithful arm, on as released."""
        super().__post_init__()
        for switch in self.switches:
            if getattr(self, switch) is None:
                object.__setattr__(self, switch, getattr(self, "arm", "") == "as_released")

    def wrap_model(self, spec: ModelSpec) -> ModelSpec:
        """Change the architecture before the federation starts (PRECODE); checkpoints and observations record it."""
        return spec

    def transform_batch(
        self, images: Tensor, labels: Tensor, step: Step, client: Client
    ) -> tuple[Tensor, Tensor]:
        """Change the batch of a local step (Shadow, ATS).

        images: ``[b, c, h, w]`` in [0, 1]; labels: ``[b]``.
        """
        return images, labels

    def transform_gradient(self, gradient: Tensors, step: Step, client: Client) -> Tensors:
        """Change the gradient of a local step (DP-SGD, Soteria, PRECODE).

        Takes and returns tensors by name, each of the shape of its parameter.
        """
        return gradient

    def transform_buffers(self, buffers: Tensors, update: Tensors, client: Client) -> Tensors:
        """Change the batch-norm buffers before they are uploaded; `update` is still the trained one (TIP as released).

        Takes and returns buffers by name, each in its shape.
        """
        return buffers

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        """Change the update before it is uploaded (noise, clipping, sparsification, TIP).

        Takes and returns tensors by name, each of the shape of its parameter.
        """
        return update

    def disclosure(self) -> dict[str, Any]:
        """Return the knowledge of an attacker who knows the defense: its name, its arm and its parameters."""
        if not is_dataclass(self):
            return {"defense": self.name}
        public = {
            parameter.name: getattr(self, parameter.name)
            for parameter in fields(self)
            if not is_given(parameter)
        }
        arm = {"arm": public.pop("arm")} if "arm" in public else {}
        return {"defense": self.name, **arm, **public}
