"""Clients that transform their images at random (ATS): the attacker transforms its raw candidate by a draw of its own.

The likelihood of an update is its expectation over the draws of the defense (Balunovic et al., ICLR 2022). For finitely many
transformations it is a sum with one term each, of which the right one outweighs all others by far: a wrong translation or
contrast differs in thousands of pixels. The attack takes the largest term.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradsiege.attacks.spaces.space import Space
from gradsiege.attacks.variables import Variables
from gradsiege.protocol.local_update import Objective, Tensors, loss

DRAWS = "draws"
Transform = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class WithDraws:
    """A space of raw images, and the transformation that each image's client may have drawn, which stays as it is.

    Variables: those of `inner`, and ``draws [images, transformations]``, a one at the transformation and zeros elsewhere. A search
    starts with no transformation at all; `Phase.again` sets them.

    Attributes:
        inner: space of the raw images.
        draws: zeros ``[images, transformations]``.
    """

    inner: Space
    draws: Tensor

    def start(self, generator: torch.Generator) -> Variables:
        """Draw one element; its draws are zero."""
        return {**self.inner.start(generator), DRAWS: self.draws.clone()}

    def follow(self, before: Variables) -> Variables:
        """Go on with the same draws."""
        return {**self.inner.follow(before), DRAWS: before[DRAWS]}

    def decode(self, x: Variables, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the raw images, which the objective transforms.

        Both ``[images, c, h, w]``: as the network sees them, and in [0, 1].
        """
        return self.inner.decode(x, labels)

    def labels(self, x: Variables, labels: Tensor) -> Tensor:
        """Labels are not optimised.

        The given ones, ``[images]``.
        """
        return labels

    def project(self, x: Variables) -> Variables:
        """Project the images alone."""
        return {**self.inner.project(x), DRAWS: x[DRAWS]}


@dataclass(frozen=True)
class DrawnLoss:
    """The client's loss of the transformed images. It goes into `Phase.loss`, beside `WithDraws`.

    Attributes:
        transforms: each maps images ``[n, c, h, w]``.
    """

    transforms: Sequence[Transform]

    def __call__(self, observed: Tensors, variables: Variables) -> Objective:
        """Return the objective of one element."""
        draws = variables[DRAWS].detach()

        def objective(
            model: nn.Module, parameters: Tensors, buffers: Tensors, images: Tensor, labels: Tensor
        ) -> tuple[Tensor, Tensors]:
            changed = [transform(images) for transform in self.transforms]
            seen = sum(
                draws[:, number, None, None, None] * part for number, part in enumerate(changed)
            )
            assert isinstance(seen, Tensor)
            return loss(model, parameters, buffers, seen, labels)

        return objective
