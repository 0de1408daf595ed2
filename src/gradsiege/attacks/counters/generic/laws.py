"""Simpler laws of a defense that replace the table of cells where simulated clients follow them.

A *saturated* upload follows the sign of a coefficient better than its size. A *limit* bounds all coefficients that were not sent.
See `additive` for noise, and `lengths` for tensors of which the length and the angle say more than any coefficient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.arithmetic import square_root
from gradsiege.attacks.counters.generic.information import Energy
from gradsiege.attacks.counters.generic.moments import GD, GG, Evidence, soft_sign
from gradsiege.attacks.counters.generic.scales import KAPPA

# Soft signs have to leave less than this share of what the coefficients themselves leave unexplained.
SATURATED = 0.9
# A limit holds if no simulated coefficient that was not sent exceeds the least sent one by more than rounding.
ROUNDING = 1.001


@dataclass(frozen=True)
class Saturation:
    """The upload is ``gain * soft_sign(g)`` and a rest; weights of both sides of the match."""

    ours: float
    theirs: float

    def to(self, like: Tensor) -> Saturation:
        """Return the law as it is, whatever the tensor's shape: it has no tensors."""
        return self

    def weighted(self, candidate: Tensor, received: Tensor) -> tuple[Tensor, Tensor]:
        """Return the soft signs of a candidate and the upload, at their weights, both in the shape of the tensor."""
        return self.ours * soft_sign(candidate), self.theirs * received


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
    ours = square_root(tau) * size
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
    """Return for each tensor whose least sent coefficient bounds the unsent ones: that of the ``tensor``, or of the whole ``update``.

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
