"""PRECODE: a variational bottleneck before the head makes the gradients stochastic (Scheliga et al., WACV 2022)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.func import grad

from gradsiege.defenses.base import Client, Defense
from gradsiege.errors import ModelError
from gradsiege.models import ModelSpec
from gradsiege.models.bottleneck import VariationalBottleneck, divergence, sampled
from gradsiege.models.head import find_head
from gradsiege.models.names import given_name
from gradsiege.protocol.local_update import Step, Tensors, loss
from gradsiege.ranges import Weight, Width

VERSION = 1


@dataclass(frozen=True)
class Precode(Defense):
    """Train cross-entropy + beta KL(code | N(0, 1)) with a code that is drawn anew in every step.

    The bottleneck is part of the architecture (`ModelSpec.bottleneck`), which the server knows; it does not know
    the draw. The server's copy of the model uses the mean of the code, unless it draws with
    `gradsiege.models.bottleneck.sampled`. The gradients from the bottleneck on have the names
    ``...head.bottleneck...`` and ``...head.head...``.

    In Python the network has to hold the bottleneck before it is observed:
    ``gradsiege.models.bottleneck.insert_bottleneck(model, "fc", 256, torch.Generator().manual_seed(0))``; an audit and a
    study file put it in.

    The hook recomputes the gradient of the step and ignores the deterministic one. Our choice: test
    accuracy and loss are measured at the mean of the code, where the release samples in evaluation too.

    Attributes:
        units: of the code; 256 in the release.
        beta: weight of the code's divergence in the loss; 1e-3 in the release.
    """

    name = "precode"

    units: Width = 256
    beta: Weight = 1e-3

    def wrap_model(self, spec: ModelSpec) -> ModelSpec:
        """Return the architecture with the bottleneck."""
        return replace(spec, bottleneck=self.units)

    def transform_gradient(self, gradient: Tensors, step: Step, client: Client) -> Tensors:
        """Return the gradient of the loss with one draw of the code per image.

        Takes and returns tensors by name, each of the shape of its parameter.
        """
        self._check(step)
        shape = (len(step.images), self.units)
        noise = torch.randn(shape, generator=client.generator)

        def objective(parameters: Tensors) -> Tensor:
            with sampled(step.model, noise) as codes:
                entropy, _ = loss(step.model, parameters, step.buffers, step.images, step.labels)
            return entropy + self.beta * divergence(*codes[0])

        gradients: Tensors = grad(objective)(step.parameters)
        return gradients

    def _check(self, step: Step) -> None:
        """Refuse a network whose bottleneck is absent, or has another number of units."""
        encoders = [
            part.encoder for part in step.model.modules() if isinstance(part, VariationalBottleneck)
        ]
        if not encoders:
            layer = find_head(
                step.model, step.images[:1], {**step.buffers, **step.parameters}
            ).layer
            raise ModelError(
                "precode draws the code of a variational bottleneck before the last layer, and the network has none: call "
                f"gradsiege.models.bottleneck.insert_bottleneck(model, {given_name(layer)!r}, {self.units}, "
                "torch.Generator().manual_seed(0)) before it is observed"
            )
        units = encoders[0].out_features // 2
        if units != self.units:
            raise ModelError(
                f"precode has units={self.units}, and the bottleneck of the network has {units}: give Precode(units={units})"
            )
