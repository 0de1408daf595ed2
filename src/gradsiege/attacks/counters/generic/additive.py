"""Uploads that are ``a g`` and noise: *white* noise of one variance per tensor, or *rounding* to levels, exact zeros among them.

What an upload says of a coefficient follows forward, from the noise, whatever the coefficient: its precision is a^2 / V. Backward
moments, in cells of coefficients that were received as zero or not, would take a level that was drawn for a small coefficient's magnitude.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gradsiege.arithmetic import square_root
from gradsiege.attacks.counters.generic.information import Energy
from gradsiege.attacks.counters.generic.moments import COUNT, DD, GD, GG, Evidence
from gradsiege.attacks.counters.generic.scales import KAPPA

# The channels' residual variances scatter about (kurtosis - 1) / n of their square under white noise: 2 for Gaussian noise, 5 for
# Laplace noise. A noise on some channels alone scatters by hundreds.
WHITE = 8.0
# A difference of fewer standard errors is taken for chance.
CERTAIN = 3.0
# Rounding is recognised if the gain of small coefficients is known to this share of the whole gain.
RESOLVED = 0.25
EXACT = 1e-9


@dataclass(frozen=True)
class Noise:
    """The upload is ``gain * g`` and noise.

    Attributes:
        gain: a.
        variance: V of each channel, ``[channels]``; in units of the upload's mean square if `relative`.
        relative: whether the noise grows with the upload, as that of levels does.
        floor: F, in whose units weights are.
    """

    gain: float
    variance: Tensor
    relative: bool
    floor: float

    def to(self, like: Tensor) -> Noise:
        """Return the law on the device and in the type of a tensor of any shape."""
        return replace(self, variance=self.variance.to(like))

    def weight(self, unit: Tensor, floor: float) -> Tensor:
        """Return tau = F a^2 / (V + a^2 F) of each channel, ``[..., channels]``; unit, ``[..., 1]``, multiplies V if it is relative."""
        variance = (
            self.variance * unit if self.relative else self.variance.expand_as(unit * self.variance)
        )
        signal = self.gain**2 * floor
        return signal / (variance + signal)

    def weighted(self, candidate: Tensor, received: Tensor) -> tuple[Tensor, Tensor]:
        """Return sqrt(tau) c and sqrt(tau) d / a, both in the shape of the tensor."""
        root = square_root(self.weight(received.square().mean().reshape(1), self.floor))
        root = root.view(-1, *[1] * (received.dim() - 1)) if received.dim() else root.view(())
        return root * candidate, root * received / self.gain


@dataclass(frozen=True)
class HeavyNoise:
    """The upload is g and Laplace noise of this scale b."""

    scale: float

    def nats(self, candidate: Tensor, received: Tensor) -> Tensor:
        """Return -log p of an upload, without its constant: the sum of |c - d| / b, a scalar of two tensors of one shape."""
        return (candidate - received).abs().sum() / self.scale


def heavy(evidence: Evidence) -> HeavyNoise | None:
    """Return the Laplace noise of a tensor of white noise, or None if Gaussian noise is the likelier one, or the gain is not one.

    Per coefficient the log-likelihoods at the likeliest scales are -log(2 e b), b the mean of |d - g|, and
    -log(2 pi e V) / 2, V the mean of its square; V = 2 b^2 under Laplace noise, pi b^2 / 2 under Gaussian noise.
    """
    sums = evidence.totals.sum((0, 1))
    gain, variance = sums[GD] / sums[GG], _left(sums, 1.0) / sums[COUNT]
    error = square_root(variance / sums[GG])
    scale = evidence.rough.mean()
    if bool((evidence.parts["zero"][..., GG] > 0).any()) or abs(gain - 1) > CERTAIN * error:
        return None
    laplace, gaussian = 1 + (2 * scale).log(), (1 + (2 * math.pi * variance).log()) / 2
    return HeavyNoise(float(scale)) if laplace < gaussian else None


def additive(evidence: Evidence, scales: Tensor, floor: float) -> tuple[Noise, Energy] | None:
    """Return the noise of a tensor and its energies; None if there is none, if it is of another kind, or if it drowns the tensor.

    scales: ``[clients]``, the factor of each upload.
    """
    sums = _scaled(evidence.totals, scales[:, None])
    gg, gd, dd, count = (sums[..., column].sum() for column in (GG, GD, DD, COUNT))
    if not gg > 0 or not gd > 0:
        return None
    gain = float(gd / gg)
    left = _left(sums, gain)
    variance = float(left.sum() / count)
    error = math.sqrt(variance / float(gg))
    if variance <= EXACT * float(dd / count) or gain < CERTAIN * error:
        return None
    zeros = bool((evidence.parts["zero"][..., GG] > 0).any())
    if zeros and not _linear(_scaled(evidence.halves, scales[:, None]), gain):
        return None
    counts = sums[..., COUNT]
    if not zeros and not _white(left, counts, variance):
        return None
    upload = (sums[..., DD].sum(1) / counts.sum(1)).clamp_min(torch.finfo(dd.dtype).tiny)
    # A victim's upload is not scaled back, so that its mean square is a unit only where no client's is.
    relative = zeros and bool((scales == 1).all()) and _steadier(left.sum(1), upload)
    unit = upload[:, None] if relative else torch.ones_like(upload)[:, None]
    levels = left.sum(0) / (counts * unit).sum(0)
    law = Noise(
        gain if abs(gain - 1) > CERTAIN * error else 1.0,
        levels.clamp_min(EXACT) if zeros else torch.full_like(levels, variance),
        relative,
        floor,
    )
    return law, _energy(law, sums, unit)


def _scaled(sums: Tensor, scales: Tensor) -> Tensor:
    """Return sums ``[clients, rows, 4]`` with uploads at their true scale."""
    ones = torch.ones_like(scales)
    return sums * torch.stack([ones, ones, scales, scales.square()], -1)


def _left(sums: Tensor, gain: float) -> Tensor:
    """Return the sums of (d - a g)^2."""
    rest: Tensor = sums[..., DD] - 2 * gain * sums[..., GD] + gain**2 * sums[..., GG]
    return rest.clamp_min(0)


def _white(left: Tensor, counts: Tensor, variance: float) -> bool:
    scatter = (counts * (left / counts / variance - 1).square()).mean()
    return bool(scatter < WHITE)


def _linear(halves: Tensor, gain: float) -> bool:
    """Whether small and large coefficients arrive with the same gain, from sums ``[clients, 2, 4]`` of both."""
    sums = halves.sum(0)
    if not bool((sums[:, GG] > 0).all()):
        return False
    gains = sums[:, GD] / sums[:, GG]
    noise = _left(sums, gain) / sums[:, COUNT]
    error = float(square_root((noise / sums[:, GG]).sum()))
    return error < RESOLVED * gain and abs(float(gains[0] - gains[1])) < CERTAIN * error


def _steadier(left: Tensor, upload: Tensor) -> bool:
    """Whether the clients' noise, ``[clients]``, is steadier in units of their uploads than by itself."""
    logs = left.clamp_min(torch.finfo(left.dtype).tiny).log()
    return bool((logs - upload.log()).var() < logs.var())


def _energy(law: Noise, sums: Tensor, unit: Tensor) -> Energy:
    tau, rough = law.weight(unit, law.floor), law.weight(unit, law.floor / KAPPA)
    gg = sums[..., GG]
    return Energy(
        gg.sum(),
        (rough * gg).sum(),
        (tau * gg).sum(),
        (tau * sums[..., DD]).sum() / law.gain**2,
        (sums[..., COUNT] * law.variance * (unit if law.relative else 1)).sum(),
    )
