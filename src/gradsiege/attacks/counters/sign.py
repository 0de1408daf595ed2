"""One bit per coordinate: a candidate needs the right signs, not the right magnitudes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.arithmetic import square_root
from gradsiege.attacks.counters.noise import coordinates, log_normal_cdf
from gradsiege.attacks.counters.plan import AttackPlan, Viewed
from gradsiege.attacks.objectives.distances import cosine
from gradsiege.protocol.local_update import Tensors

VERSION = 2
REQUIRES = ("disclosure",)
BY_NAME = ("likelihood",)
TINY = 1e-12
# The deviation between the candidate's update and the client's, in units of a tensor's mean magnitude: signs are exact, so
# it stands for the attacker's own distance from the truth, and keeps the likelihood smooth. Not tuned.
DOUBT = 0.1


def soft_sign_view(candidate: Tensors, observed: Tensors) -> tuple[Tensors, Tensors]:
    """Show the candidate's soft signs v / sqrt(v^2 + m^2), m its tensor's mean magnitude, beside the received signs.

    Both by name, each tensor of the shape of its parameter, the soft signs in (-1, 1).

    An exact zero, such as the gradient of a dead unit, is received as zero and then wanted.
    """
    soft = {}
    for name in observed:
        scale = candidate[name].abs().mean() + TINY
        ratio = candidate[name] / scale
        soft[name] = ratio / square_root(1 + ratio.square())
    return soft, {name: value.sign() for name, value in observed.items()}


def sign_consistent(plan: AttackPlan) -> AttackPlan:
    """Match soft signs by their cosine, every coordinate alike, whatever the tensor's scale."""
    return plan.with_distance(Viewed(cosine, soft_sign_view))


def sign_nats(value: Tensor, received: Tensor, deviation: Tensor) -> Tensor:
    """Return -log p(sign received | value), summed, of the sign of value + N(0, deviation^2): a probit per coordinate.

    Zymnis, Boyd and Candes (IEEE Signal Processing Letters, 2010), equation 3, for one bit. A received zero is an exact one
    and has the Gaussian's density instead.

    >>> deviation, up = torch.tensor(2.0), torch.tensor([1.0])
    >>> [round(float(sign_nats(torch.tensor([v]), up, deviation)), 4) for v in (0.0, 2.0, -2.0)]
    [0.6931, 0.1728, 1.841]
    """
    ratio = value / deviation
    agreement = -log_normal_cdf(received.sign() * ratio)
    return torch.where(received != 0, agreement, ratio.square() / 2).sum()


@dataclass(frozen=True)
class SignLikelihood:
    """-log p(observed signs | candidate), in nats per coordinate.

    Attributes:
        scaled: whether the received magnitudes are the mean magnitudes of their tensors; else the candidate's own are taken.
    """

    scaled: bool

    def __call__(self, candidate: Tensors, observed: Tensors) -> Tensor:
        """Return the mean over all coordinates."""
        parts = []
        for name, received in observed.items():
            known = received if self.scaled else candidate[name]
            size = known.abs().amax() if self.scaled else known.abs().mean()
            parts.append(sign_nats(candidate[name], received, DOUBT * size + TINY))
        return torch.stack(parts).sum() / coordinates(observed)


def likelihood(plan: AttackPlan) -> AttackPlan:
    """Match by the probability of the received signs, in nats, so that a prior can be weighed against it."""
    scaled = plan.disclosure.get("scale") == "mean_magnitude"
    return plan.with_distance(SignLikelihood(scaled))
