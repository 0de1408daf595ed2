"""Additive noise: an estimate of its deviation from the update itself, and the likelihood of a candidate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.arithmetic import square_root
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.protocol.local_update import Tensors

# Below it a tail is its asymptotic series (Abramowitz and Stegun, 7.1.23), whose next term is 1e-8; above it no float32 underflows.
FAR = -12.5
SERIES = (105.0, -15.0, 3.0, -1.0, 1.0)


def log_normal_cdf(x: Tensor) -> Tensor:
    """Return log Phi(x) of a standard normal, exact far below zero too.

    `torch.special.log_ndtr` and `erfcx` compute one number after the other, `erfc` and logarithms several at once; `log_ndtr` has
    no rule for `vmap` either.

    >>> log_normal_cdf(torch.tensor([0.0, 1.0, -20.0]))
    tensor([-6.9315e-01, -1.7275e-01, -2.0392e+02])
    """
    near = (torch.special.erfc(x.clamp(min=FAR) / -math.sqrt(2)) / 2).log()
    far = x.clamp(max=FAR)
    inverse_square = far.square().reciprocal()
    series = inverse_square * SERIES[0] + SERIES[1]
    for coefficient in SERIES[2:]:
        series = series * inverse_square + coefficient
    below = (series / (far * -math.sqrt(2 * math.pi))).log() - far.square() / 2
    return torch.where(x < FAR, below, near)


def coordinates(update: Tensors) -> int:
    """Return the number of coordinates of an update.

    update: tensors by name, of any shape.
    """
    return sum(value.numel() for value in update.values())


@dataclass(frozen=True)
class GaussianLikelihood:
    """-log p(observed | candidate) under N(0, sigma^2) noise, in nats per coordinate, its constant left out.

    Without noise in the match it is 1/2. The weight of a regularizer is then a prior in the same unit.
    """

    deviation: float

    def __call__(self, candidate: Tensors, observed: Tensors) -> Tensor:
        """Return the mean of ((c - o) / sigma)^2 / 2 (l2 over sigma^2 of Balunovic et al., ICLR 2022)."""
        squares = [(candidate[name] - value).square().sum() for name, value in observed.items()]
        return torch.stack(squares).sum() / (2 * self.deviation**2 * coordinates(observed))


@dataclass(frozen=True)
class LaplaceLikelihood:
    """-log p(observed | candidate) under Laplace(0, b) noise, in nats per coordinate, its constant left out."""

    scale: float

    def __call__(self, candidate: Tensors, observed: Tensors) -> Tensor:
        """Return the mean of |c - o| / b (l1 over b of Balunovic et al., ICLR 2022)."""
        distances = [(candidate[name] - value).abs().sum() for name, value in observed.items()]
        return torch.stack(distances).sum() / (self.scale * coordinates(observed))


def estimated_deviation(plan: AttackPlan) -> Tensor:
    """Return the deviation of white noise on each victim's update, ``[victims]``, from the head's weight alone.

    The true gradient of a linear layer is a sum of one outer product per image and local step. The rest, outside the
    head's largest singular directions, is noise with (classes - rank)(features - rank) degrees of freedom. With more images
    than classes the largest directions of the noise itself are left out, too, and the estimate is too low.
    """
    training = plan.knowledge.observation.training
    weight = plan.head.weight_in(plan.update, "the estimate of the noise's deviation")
    classes, features = weight.shape[-2:]
    rank = min(
        plan.images_per_client * (training.epochs if training else 1), min(classes, features) - 1
    )
    rest = torch.linalg.svdvals(weight)[..., rank:].square().sum(-1)
    variance: Tensor = rest / ((classes - rank) * (features - rank))
    return square_root(variance)
