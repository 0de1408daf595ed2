"""PRECODE: a variational bottleneck before the head makes the gradients stochastic (Scheliga et al., WACV 2022)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.func import grad

from gradsiege.defenses.base import Client, Defense
from gradsiege.models import ModelSpec
from gradsiege.models.bottleneck import divergence, sampled
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

    The hook recomputes the gradient of the step and ignores the deterministic one. Our choice: test
    accuracy and loss are measured at the mean of the code, where the release samples in evaluation too.

    Units of the code, and the weight beta of its divergence in the loss: 256 and 1e-3 in the release.
    """

    name = "precode"

    units: Width = 256
    beta: Weight = 1e-3

    def wrap_model(self, spec: ModelSpec) -> ModelSpec:
        """Return the architecture with the bottleneck."""
        return replace(spec, bottleneck=self.units)

    def transform_gradient(self, gradient: Tensors, step: Step, client: Client) -> Tensors:
        """Return the gradient of the loss with one draw of the code per image."""
        shape = (len(step.images), self.units)
        noise = torch.randn(shape, generator=client.generator)

        def objective(parameters: Tensors) -> Tensor:
            with sampled(step.model, noise) as codes:
                entropy, _ = loss(step.model, parameters, step.buffers, step.images, step.labels)
            return entropy + self.beta * divergence(*codes[0])

        gradients: Tensors = grad(objective)(step.parameters)
        return gradients
