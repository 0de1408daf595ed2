"""Networks whose clients draw a random code before the head (PRECODE): the draw is a variable of the attack, beside the images.

The posterior of the images and of the standard normal draws e given an update is p(update | x, e) p(x) p(e): an attacker searches
for both, with |e|^2 / 2 beside the match, and computes a candidate's update with its own draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradsiege.attacks.objectives.regularizers import Candidate
from gradsiege.attacks.spaces.space import Space
from gradsiege.attacks.variables import Variables
from gradsiege.models.bottleneck import divergence, sampled
from gradsiege.protocol.local_update import Objective, Tensors, loss

CODES = "codes"


@dataclass(frozen=True)
class WithCodes:
    """A search space with the standard normal draw of every image's code as a further variable, ``codes [images, units]``.

    The search for it starts at zero, the draw's mode.

    Attributes:
        inner: space of the images.
        codes: zeros ``[images, units]``.
    """

    inner: Space
    codes: Tensor

    def start(self, generator: torch.Generator) -> Variables:
        """Draw one element; its draws are zero."""
        return {**self.inner.start(generator), CODES: self.codes.clone()}

    def follow(self, before: Variables) -> Variables:
        """Go on from an earlier phase, with its draws."""
        return {**self.inner.follow(before), CODES: before[CODES]}

    def decode(self, x: Variables, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images of the inner space.

        Both ``[images, c, h, w]``: as the network sees them, and in [0, 1].
        """
        return self.inner.decode(x, labels)

    def labels(self, x: Variables, labels: Tensor) -> Tensor:
        """Return the labels of the inner space.

        ``[images]``, or ``[images, classes]`` for soft labels.
        """
        return self.inner.labels(x, labels)

    def project(self, x: Variables) -> Variables:
        """Project the images alone."""
        return {**self.inner.project(x), CODES: x[CODES]}


@dataclass(frozen=True)
class SampledLoss:
    """The client's loss with a code of one's own: cross-entropy + beta KL(code | N(0, 1)). It goes into `Phase.loss`.

    Attributes:
        beta: weight of the divergence.
    """

    beta: float

    def __call__(self, observed: Tensors, variables: Variables) -> Objective:
        """Return the objective of one element; without draws among its variables the code is its mean."""

        def objective(
            model: nn.Module, parameters: Tensors, buffers: Tensors, images: Tensor, labels: Tensor
        ) -> tuple[Tensor, Tensors]:
            draws = variables.get(CODES, images.new_zeros(()))
            with sampled(model, draws) as codes:
                entropy, after = loss(model, parameters, buffers, images, labels)
            return entropy + self.beta * divergence(*codes[0]), after

        return objective


def negative_log_prior_of_codes(candidate: Candidate) -> Tensor:
    """Return |e|^2 / 2 over all draws, divided by the number of matched coordinates, the unit of the likelihoods.

    >>> pixel, draws = torch.zeros(1, 1, 1, 1), torch.tensor([[1.0, -3.0]])
    >>> negative_log_prior_of_codes(Candidate(pixel, pixel, torch.tensor([0]), {"w": torch.zeros(10)}, {"codes": draws}))
    tensor(0.5000)
    """
    coordinates = sum(value.numel() for value in candidate.observed.values())
    return candidate.variables[CODES].square().sum() / (2 * coordinates)
