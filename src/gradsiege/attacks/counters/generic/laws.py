"""Simpler laws of a defense that replace the table of cells where simulated clients follow them.

*White noise* has one variance per tensor, whatever the coefficient. A *saturated* upload follows the sign of a coefficient better
than its size. A *limit* bounds all coefficients that were not sent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.attacks.counters.generic.information import Energy
from gradsiege.attacks.counters.generic.moments import COUNT, DD, GD, GG, Evidence
from gradsiege.attacks.counters.generic.reliability import Part
from gradsiege.attacks.counters.generic.scales import KAPPA

# The channels' residual variances scatter about (kurtosis - 1) / n of their square under white noise: 2 for Gaussian noise, 5 for
# Laplace noise. A noise on some channels alone scatters by hundreds.
WHITE = 8.0
# Soft signs have to leave less than this share of what the coefficients themselves leave unexplained.
SATURATED = 0.9
# A limit holds if no simulated coefficient that was not sent exceeds the least sent one by more than rounding.
ROUNDING = 1.001


@dataclass(frozen=True)
class Noise:
    """The upload is ``gain * g`` and white noise of this variance."""

    gain: float
    variance: float


def white_noise(evidence: Evidence, scales: Tensor) -> Noise | None:
    """Return the noise of a tensor, or None if it is not white, not there, or drowns the tensor beyond what the sums show.

    scales: ``[clients]``, what each upload is multiplied by.
    """
    if bool((evidence.parts["zero"][..., GG] > 0).any()):
        return None
    sums = evidence.totals
    gg = sums[..., GG]
    gd, dd = sums[..., GD] * scales[:, None], sums[..., DD] * scales[:, None].square()
    gain = float(gd.sum() / gg.sum()) if gg.sum() > 0 else 0.0
    left = (dd - 2 * gain * gd + gain**2 * gg).clamp_min(0)
    count = sums[..., COUNT]
    variance = float(left.sum() / count.sum())
    error = math.sqrt(variance / float(gg.sum())) if gg.sum() > 0 else math.inf
    if variance <= 1e-9 * float(dd.sum() / count.sum()) or gain < 3 * error:
        return None
    scatter = (count * (left / count / variance - 1).square()).mean()
    if scatter >= WHITE:
        return None
    return Noise(gain if abs(gain - 1) > 3 * error else 1.0, variance)


def of_noise(
    evidence: Evidence, scales: Tensor, noise: Noise, floor: float
) -> tuple[dict[str, Part], Energy]:
    """Return the weights of a tensor under white noise: tau = F a^2 / (V + a^2 F), eta = tau / a, whatever the coefficient.

    scales: ``[clients]``; the parts hold tables ``[channels, 2]``.
    """
    sums = evidence.totals
    channels = sums.shape[1]
    precision = noise.gain**2 / noise.variance

    def tau_at(level: float) -> float:
        return level * precision / (1 + level * precision)

    tau = torch.full((channels, 2), tau_at(floor), dtype=sums.dtype)
    gg, count = sums[..., GG].sum(), sums[..., COUNT].sum()
    dd = (sums[..., DD] * scales[:, None].square()).sum()
    total = Energy(
        gg,
        tau_at(floor / KAPPA) * gg,
        tau_at(floor) * gg,
        tau_at(floor) / noise.gain**2 * dd,
        count * noise.variance,
    )
    part = Part(torch.ones(channels, dtype=sums.dtype), sums.new_zeros(0), tau, tau / noise.gain)
    return {"whole": part}, total


@dataclass(frozen=True)
class Saturation:
    """The upload is ``gain * soft_sign(g)`` and a rest; weights of both sides of the match."""

    ours: float
    theirs: float


def saturation(evidence: Evidence, floor: float) -> tuple[Saturation, Energy] | None:
    """Return how to match soft signs, or None if an upload follows the coefficients themselves as well.

    With r = soft_sign(g) the upload is a r and a rest of variance V, fitted by least squares. In units of the mean magnitude M
    the noise of r is (M / a)^2 V, and tau = F / (N + F) as for any other coefficient.
    """
    count, rr, rd, dd = evidence.soft.sum(0)
    energies = evidence.totals.sum((0, 1))
    plain = 1 - energies[GD].clamp_min(0).square() / (energies[GG] * dd).clamp_min(1e-300)
    bent = 1 - rd.clamp_min(0).square() / (rr * dd).clamp_min(1e-300)
    if not rd > 0 or not bent < SATURATED * plain:
        return None
    gain = rd / rr
    size = evidence.magnitude.mean()
    noise = (dd - gain * rd).clamp_min(0) / count * (size / gain).square()
    tau, rough = floor / (noise + floor), floor / KAPPA / (noise + floor / KAPPA)
    ours = tau.sqrt() * size
    match = Saturation(float(ours), float(ours / gain))
    total = Energy(
        energies[GG],
        rough * energies[GG],
        ours.square() * rr,
        (ours / gain).square() * dd,
        noise * count,
    )
    return match, total


def limits(evidence: dict[str, Evidence]) -> dict[str, str]:
    """Return for each tensor what bounds its coefficients that were not sent: the least one sent of its ``tensor``, or of the ``update``.

    Tensors that nothing bounds are left out.
    """
    least = torch.stack([tensor.least for tensor in evidence.values()]).amin(0)
    bounded = {}
    for name, tensor in evidence.items():
        if not bool((tensor.unsent > 0).any()):
            continue
        if bool((tensor.unsent <= ROUNDING * tensor.least).all() & tensor.least.isfinite().any()):
            bounded[name] = "tensor"
        elif bool((tensor.unsent <= ROUNDING * least).all()):
            bounded[name] = "update"
    return bounded
