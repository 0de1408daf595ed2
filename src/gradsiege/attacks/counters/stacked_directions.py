"""CENSOR's uploads of several rounds, stacked for each tensor: what their directions say together of the true gradient.

In the faithful arm every upload is orthogonal to its round's gradient, so that K uploads of a tensor of d <= K coordinates
leave the gradient's line alone as their null space. As released, the uploads spread along the gradient more than across it, and
the client prefers those that lie on its positive side: the stack's largest direction is the gradient.

A candidate is compared at one global model, the anchor. The model's drift between the rounds counts as noise on each equation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gradsiege.arithmetic import square_root
from gradsiege.attacks.counters.noise import coordinates, log_normal_cdf
from gradsiege.protocol.local_update import Tensors, as_rows

# The deviation of a candidate from the truth, as a share of a tensor's length: the attacker's own error. Not tuned.
DOUBT = 0.1
STACK = " stack"
TINY = 1e-12
# Smallest eigenvalue of the equations' covariance, as a share of DOUBT^2: as many equations as coordinates are dependent.
LEAST_SHARE = 1e-6


def whitened(uploads: Tensor, drift: Tensor) -> Tensor:
    """Return rows A ``[min(K, d), d]`` with |A c|^2 = (d / 2) t^T (DOUBT^2 U U^T + diag(drift^2))^-1 t for unit vectors c, t = U c.

    U holds the uploads' directions. A candidate at DOUBT of the gradient's length from it, in any direction, has t with
    covariance DOUBT^2 U U^T / d; the drift of the gradient adds diag(drift^2) / d. That is the negative log-likelihood of t = 0, in nats.

    Args:
        uploads: ``[K, d]``.
        drift: ``[K]``, the change of the gradient since the anchor as a share of its length.

    >>> rows = whitened(torch.eye(3)[:2], torch.zeros(2))
    >>> (rows @ torch.eye(3)[2]).norm(), round(float((rows @ torch.eye(3)[0]).square().sum()))
    (tensor(0.), 150)
    """
    directions = uploads.double()
    directions = directions / directions.norm(dim=1, keepdim=True).clamp_min(TINY)
    count, size = directions.shape
    noise = drift.double().square() + LEAST_SHARE * DOUBT**2
    covariance = DOUBT**2 * directions @ directions.T + torch.diag(noise)
    factor = torch.linalg.cholesky(covariance)
    rows = torch.linalg.solve_triangular(factor, directions, upper=False) * math.sqrt(size / 2)
    if count > size:
        rows = torch.linalg.qr(rows, mode="r").R
    whitened_rows: Tensor = rows.to(uploads)
    return whitened_rows


def length_nats(candidate: Tensor, received: Tensor) -> Tensor:
    """Return log^2(|c| / |o|) / (2 DOUBT^2): the length of a tensor is received exactly.

    candidate, received: of any one shape; the result is a scalar, in nats.
    """
    ratio = (candidate.square().sum() + TINY) / (received.square().sum() + TINY)
    return (ratio.log() / 2 / DOUBT).square() / 2


def unit(value: Tensor) -> Tensor:
    """Return a tensor in one row, at unit length.

    value: of any shape with d coordinates; the result is ``[1, d]``.
    """
    flat = value.flatten()
    return flat / square_root(flat.square().sum() + TINY**2)


@dataclass(frozen=True)
class NullSpace:
    """Right angles with every upload of a stack and the length at the anchor, in nats per coordinate (faithful arm).

    Beside each tensor ``name`` the observed update holds the rows of `whitened` as ``name stack``, ``[rows, *shape]``.

    Attributes:
        share: of the evidence that this anchor stands for, where several anchors are matched.
    """

    share: float = 1.0

    def __call__(self, candidate: Tensors, observed: Tensors) -> Tensor:
        """Return the negative log-likelihood of a candidate's update, its constant left out."""
        parts = []
        for name, value in candidate.items():
            if name + STACK not in observed:
                continue
            angles = as_rows(observed[name + STACK]) @ unit(value)
            parts += [angles.square().sum(), length_nats(value, observed[name])]
        return self.share * torch.stack(parts).sum() / coordinates(observed)


@dataclass(frozen=True)
class SpreadAlong:
    """The law of the released directions over all rounds, and the length at the anchor, in nats per coordinate.

    Beside each tensor ``name`` the observed update holds its uploads as ``name stack``, ``[K, *shape]``. A released direction is a
    random one whose part along the gradient g was multiplied by 1 - |g|, at unit length: an angular central Gaussian (Tyler,
    Biometrika, 1987) with s^2 = (|g| - 1)^2 along g and 1 across, -log p = (d / 2) log(1 - (1 - 1 / s^2) t^2), t = cos(c, upload). Of
    `trials` draws the client uploads the one that lowers its loss most, to first order the one of largest z = sum_l |g_l|^2 t_l,
    which multiplies p by trials Phi(z / deviation of z)^(trials - 1).

    Attributes:
        trials: random candidates of the client.
        drift: for each tensor ``[K]``, the change of the gradient since the anchor as a share of its length; none if left out.
        share: as in `NullSpace`.
    """

    trials: int
    drift: Tensors = field(default_factory=dict, repr=False)
    share: float = 1.0

    def __call__(self, candidate: Tensors, observed: Tensors) -> Tensor:
        """Return the negative log-likelihood of a candidate's update, its constant left out."""
        nats, scores, variances = [], [], []
        for name, value in candidate.items():
            if name + STACK not in observed:
                continue
            uploads = as_rows(observed[name + STACK])
            squares = uploads.square().sum(1) + TINY
            cosines = uploads @ unit(value) / square_root(squares)
            # The candidate's own error and the drift blur an exact right angle.
            drift = self.drift.get(name, squares.new_zeros(()))
            spread = (square_root(squares) - 1).square() + DOUBT**2 + drift.square()
            size = value.numel()
            law = torch.log1p(-(1 - 1 / spread) * cosines.square().clamp(max=1)) * size / 2
            nats += [law.sum(), length_nats(value, observed[name])]
            scores.append(squares * cosines)
            variances.append(squares.square() * spread / (size + spread - 1))
        lead = torch.stack(scores).sum(0) / square_root(torch.stack(variances).sum(0))
        chosen = -(self.trials - 1) * log_normal_cdf(lead).sum()
        return self.share * (torch.stack(nats).sum() + chosen) / coordinates(observed)
