"""Tensors of which no coefficient says anything: what their lengths, and their angles to the uploads, say.

A defense may turn a tensor into another direction and keep its length, or turn it by an angle that differs from chance. Two numbers
per tensor say little: they help beside a strong prior alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.attacks.counters.generic.moments import COUNT, DD, GD, GG, Evidence

# The deviation of a candidate's log-length from the truth's where the length is received exactly: the attacker's own error. Not tuned.
DOUBT = 0.1
# An upload tells a length if it leaves less than this share of the variance of log |g|.
TELLING = 0.5
# Squared angles differ from chance if their mean does by so many standard errors.
CERTAIN = 3.0
TINY = 1e-12


@dataclass(frozen=True)
class Shape:
    """Knowledge of the length |d| of an upload and its angle to the true tensor; zero precisions where they say nothing.

    Attributes:
        slope, shift: log |g| is ``slope * log |d| + shift`` on average.
        precision: one over the variance of that.
        angle: 1 - n E[cos^2] where the angle is nearer to a right one than chance, else -(1 - 1 / (n E[cos^2])): the difference
            of log-densities of cos(g, d) at the truth and elsewhere, where it is N(0, 1 / n), is -angle n cos^2 / 2. Below
            chance 1 - n E[cos^2] stands for 1 / (n E[cos^2]) - 1, which is as small near chance and grows beyond all bounds.
    """

    slope: float
    shift: float
    precision: float
    angle: float

    def nats(self, candidate: Tensor, received: Tensor) -> Tensor:
        """Return -log p of length and angle, without its constant, a scalar of two tensors of one shape; a tensor of zeros says nothing."""
        ours, theirs = candidate.square().sum() + TINY**2, received.square().sum() + TINY**2
        away = ours.log() / 2 - self.slope * theirs.log() / 2 - self.shift
        square = (candidate * received).sum().square() / (ours * theirs)
        nats = self.precision * away.square() / 2 + self.angle * received.numel() * square / 2
        return torch.where(theirs > 4 * TINY**2, nats, 0)


def shape_of(evidence: Evidence) -> Shape | None:
    """Return what the clients' lengths and angles say of a tensor; None if neither says anything."""
    sums = evidence.totals.sum(1)
    sums = sums[(sums[:, GG] > 0) & (sums[:, DD] > 0)]
    if len(sums) < 3:
        return None
    slope, shift, precision = _length(sums[:, GG].log() / 2, sums[:, DD].log() / 2)
    angle = _angle(sums[:, COUNT] * sums[:, GD].square() / (sums[:, GG] * sums[:, DD]))
    return Shape(slope, shift, precision, angle) if precision or angle else None


def _length(ours: Tensor, theirs: Tensor) -> tuple[float, float, float]:
    """Return slope, shift and precision of a regression of log |g| on log |d|, each ``[clients]``."""
    x, y = theirs - theirs.mean(), ours - ours.mean()
    if not x.square().mean() > 0:
        return 0.0, 0.0, 0.0
    slope = float((x * y).sum() / x.square().sum())
    left = float((y - slope * x).square().sum() / (len(x) - 2))
    if not left < TELLING * float(y.square().mean()):
        return 0.0, 0.0, 0.0
    return slope, float(ours.mean() - slope * theirs.mean()), 1 / (left + DOUBT**2)


def _angle(squares: Tensor) -> float:
    """Return the weight of the squared angle from the clients' n cos^2, ``[clients]``, which chance makes one in the mean.

    >>> _angle(torch.zeros(30)), _angle(torch.ones(30)), _angle(torch.full((30,), 4.0))
    (1.0, 0.0, -0.75)
    """
    mean = float(squares.mean())
    if abs(mean - 1) < CERTAIN * (2 / len(squares)) ** 0.5:
        return 0.0
    return 1 - mean if mean < 1 else 1 / mean - 1
