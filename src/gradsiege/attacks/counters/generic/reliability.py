"""Learned reliability: what a received coefficient says of the true one, from simulated clients (steps 2 to 6).

The defense is a black box that the attacker runs on its own images. In cells of channels that look alike, the true
coefficient is predicted by ``beta d`` with a residual variance N, and without the upload it has the variance S. The weight tau of a
coefficient is the information that the upload adds, 1 / N - 1 / S, in units of a floor F: how well any model of updates fits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gradsiege.arithmetic import square_root
from gradsiege.attacks.counters.generic.information import Energy
from gradsiege.attacks.counters.generic.moments import BASES, COUNT, DD, GG, Evidence
from gradsiege.attacks.counters.generic.scales import KAPPA

MOST_BINS = 12
# A correlation of fewer standard errors than this is taken for chance.
SIGNIFICANT = 3.0
# Kernels are split where that leaves less than this share of the residual variance.
SPLIT = 0.98
# A cell of fewer coordinates takes what its neighbour says, unless its coordinates are exact up to rounding.
FEWEST = 30
EXACT = 1e-5


@dataclass(frozen=True)
class Part:
    """What was learned of one part of a tensor.

    Attributes:
        prior: mean square of a true coefficient of each channel, ``[channels]``.
        edges: between bins of log(|d|^2 / (n prior)), ``[bins - 1]``.
        tau, eta: weight of a coefficient, and factor of the upload, ``[channels, 1 + bins]``; first the cell of channels in which
            nothing was received.
    """

    prior: Tensor
    edges: Tensor
    tau: Tensor
    eta: Tensor

    def to(self, like: Tensor) -> Part:
        """Return the part on the device and in the type of a tensor.

        like: a tensor of any shape.
        """
        return replace(self, **{name: value.to(like) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Cells:
    """Pooled moments of cells in units of the prior, ``[cells]``: prediction, residual variance, prior variance."""

    beta: Tensor
    residual: Tensor
    variance: Tensor


def log_ratio(square: Tensor, count: Tensor, prior: Tensor) -> Tensor:
    """Return log(square / (count prior)), of zero -inf (step 3); a channel that was always zero counts as a tiny prior.

    square, count: ``[..., channels]``; prior: ``[channels]``.
    """
    tiny = torch.finfo(torch.float32).tiny
    return (square / (count * prior).clamp_min(tiny)).log()


def place(values: Tensor, edges: Tensor) -> Tensor:
    """Return the cell of each feature: 0 for -inf, else one more than the number of edges below it.

    >>> place(torch.tensor([-torch.inf, -3.0, 0.5, 9.0]), torch.tensor([0.0, 1.0]))
    tensor([0, 1, 2, 3])
    """
    bins = 1 + (values[..., None] >= edges).sum(-1)
    return torch.where(values == -torch.inf, 0, bins)


def edges_of(values: Tensor) -> Tensor:
    """Return the inner edges of bins of about one nat, at most twelve, over all finite features.

    >>> edges_of(torch.tensor([0.0, 2.0, -torch.inf]))
    tensor([1.])
    """
    known = values[values.isfinite()]
    if not known.numel():
        return known
    low, high = float(known.min()), float(known.max())
    bins = min(max(1, round(high - low)), MOST_BINS)
    return torch.linspace(low, high, bins + 1, dtype=values.dtype)[1:-1]


def pooled(sums: Tensor, prior: Tensor, cells: Tensor, number: int) -> Cells:
    """Pool sums ``[clients, channels, 4]`` by cell, in units of the prior (step 4).

    beta = gd / dd, N = (gg - beta gd) / m, S = gg / m; of the cell without upload beta = 0 and S >= 1. If the correlation is
    within chance, gd / sqrt(gg dd) < 3 / sqrt(m), the cell says nothing: beta = 0, N = S. A cell that no channel was in
    takes what its nearest neighbour says.
    """
    known = prior > 0
    unit = torch.where(known, 1 / torch.where(known, prior, 1), 0)[:, None]
    table = sums * torch.cat([known[:, None].to(unit), unit, unit, unit], 1)
    total = table.new_zeros(number, 4).index_add(0, cells.flatten(), table.flatten(0, 1))
    count, gg, gd, dd = total.unbind(-1)
    tiny = torch.finfo(gg.dtype).tiny
    beta = gd / dd.clamp_min(tiny)
    chance = gd < SIGNIFICANT * square_root(gg * dd / count.clamp_min(1))
    # Coefficients that were received as they are need no statistics.
    exact = torch.maximum((dd - gg).abs(), (gd - gg).abs()) <= EXACT * gg
    beta = torch.where(dd == 0, 0, torch.where(exact | ~chance, beta, 0))
    m = count.clamp_min(tiny)
    residual, variance = ((gg - beta * gd) / m).clamp_min(0), gg / m
    variance = torch.cat([variance[:1].clamp_min(1), variance[1:]])
    source = _nearest((count > 0) & (exact | (count >= FEWEST)), count > 0)
    return Cells(beta[source], residual[source], variance[source])


def _nearest(filled: Tensor, some: Tensor) -> Tensor:
    """Return for every cell the nearest filled bin, or one with `some` if none is; the first cell stands alone.

    >>> _nearest(torch.tensor([False, True, False, False, True]), torch.ones(5, dtype=torch.bool))
    tensor([0, 1, 1, 4, 4])
    """
    places = torch.arange(len(filled))
    bins = places[1:][filled[1:] if bool(filled[1:].any()) else some[1:]]
    if not len(bins):
        return places
    near = bins[(places[1:, None] - bins).abs().argmin(1)]
    return torch.cat([places[:1], near])


def weights(cells: Cells, prior: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """Return (tau, eta) ``[channels, cells]`` (step 6).

    tau = F (1 - N / S) / (N + F) and eta = F beta / (N + F), with N and S times each channel's prior; 1 - N / S = 1 for N = 0.
    """
    known = 1 - cells.residual / torch.where(cells.residual > 0, cells.variance, 1)
    share = floor / (prior[:, None] * cells.residual + floor)
    return share * known.clamp_min(0), share * cells.beta


def learn_part(sums: Tensor, prior: Tensor, floor: float) -> tuple[Part, Energy]:
    """Return what a part's sums ``[clients, channels, 4]``, uploads at their true scale, say of it."""
    features = log_ratio(sums[..., DD], sums[..., COUNT], prior)
    edges = edges_of(features)
    where = place(features, edges)
    cells = pooled(sums, prior, where, len(edges) + 2)
    part = Part(prior, edges, *weights(cells, prior, floor))
    rough, _ = weights(cells, prior, floor / KAPPA)
    return part, energy(sums, part, rough, where, cells.residual)


def energy(sums: Tensor, part: Part, rough: Tensor, where: Tensor, residual: Tensor) -> Energy:
    """Return the sums over a part's coefficients; `where` is each channel's cell, `rough` tau with the higher floor.

    sums: ``[clients, channels, 4]``; where: ``[clients, channels]``; rough: ``[channels, cells]``; residual: ``[cells]``.
    """
    channels = torch.arange(len(part.prior)).expand_as(where)
    tau, eta = part.tau[channels, where], part.eta[channels, where]
    gg, dd = sums[..., GG], sums[..., DD]
    upload = torch.where(tau > 0, eta.square() / torch.where(tau > 0, tau, 1), 0)
    return Energy(
        gg.sum(),
        (rough[channels, where] * gg).sum(),
        (tau * gg).sum(),
        (upload * dd).sum(),
        (sums[..., COUNT] * part.prior * residual[where]).sum(),
    )


def learn_tensor(
    evidence: Evidence, scales: Tensor, floor: float, bounded: bool
) -> tuple[dict[str, Part], Energy]:
    """Return the two parts of the basis that predicts a tensor better (step 5); of a bounded tensor those of the coordinates.

    scales: ``[clients]``, the factor of each upload.
    """
    ones = torch.ones_like(scales)
    units = torch.stack([ones, ones, scales, scales.square()], -1)[:, None]
    sums = {part: value * units for part, value in evidence.parts.items()}
    choices = {}
    for basis, parts in BASES.items():
        if parts[0] not in sums or (bounded and basis == "kernels"):
            continue
        totals = {part: sums[part].sum(0) for part in parts}
        if basis == "coordinates":
            totals = dict.fromkeys(parts, totals["received"] + totals["zero"])
        learnt = {
            part: learn_part(sums[part], total[:, GG] / total[:, COUNT], floor)
            for part, total in totals.items()
        }
        first, second = (spent for _, spent in learnt.values())
        choices[basis] = {part: value for part, (value, _) in learnt.items()}, first + second
    split = choices.get("kernels")
    plain = choices["coordinates"]
    return split if split is not None and split[1].left < SPLIT * plain[1].left else plain
