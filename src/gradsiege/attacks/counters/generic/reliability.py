"""Learned reliability: what a received coefficient says of the true one, from simulated clients (steps 1 to 6).

The defense is a black box that the attacker runs on its own images. In cells of channels that look alike, the true
coefficient is predicted by ``beta d`` with a residual variance N, and without the upload it has the variance S. The weight tau of a
coefficient is the information that the upload adds, 1 / N - 1 / S, in units of a floor F: how well any model of updates fits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gradsiege.attacks.counters.generic.moments import BASES, COUNT, DD, GG, Evidence

# The floor, as a share of the mean square of all true coefficients.
KAPPA = 0.01
MOST_BINS = 12
# A correlation of fewer standard errors than this is taken for chance.
SIGNIFICANT = 3.0
# Kernels are split where that leaves less than this share of the residual variance.
SPLIT = 0.98
# A tensor tells the scale of a client's upload if its correlation exceeds this.
TELLING = 0.5
SOFTEN = 1e-4
# A scale has to differ from one by so many standard errors.
CERTAIN = 3.0
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
        """Return the part on the device and in the type of a tensor."""
        return replace(self, **{name: value.to(like) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Cells:
    """Pooled moments of cells in units of the prior, ``[cells]``: prediction, residual variance, prior variance."""

    beta: Tensor
    residual: Tensor
    variance: Tensor


@dataclass(frozen=True)
class Energy:
    """Sums over all simulated coefficients, from which the weight of the whole match follows (`information`).

    Attributes:
        truth: of g^2.
        known: of tau g^2, with a floor of the whole mean square.
        ours, theirs: of the squares that the cosine compares, the truth's tau g^2 and the upload's (eta^2 / tau) d^2.
        left: of the residual variance.
    """

    truth: Tensor
    known: Tensor
    ours: Tensor
    theirs: Tensor
    left: Tensor

    def __add__(self, other: Energy) -> Energy:
        return Energy(
            *(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True))
        )


def information(total: Energy) -> float:
    """Return the factor of the whole match beside a regularizer: 1 without a defense, less the less is known.

    A cosine of weighted coefficients forgets how much all of them say together. To first order 1 - cos is
    sum tau |c - g|^2 / (2 |ours| |theirs|); without a defense it is sum |c - g|^2 / (2 |g|^2). So that a nat of the match weighs as
    much as there, it is multiplied by (known / truth) |theirs| / |ours|.
    """
    if not total.ours > 0:
        return 1.0
    return min(1.0, float(total.known / total.truth * (total.theirs / total.ours).sqrt()))


def client_scales(evidence: dict[str, Evidence]) -> Tensor:
    """Return the factor ``[clients]`` that undoes a change of an upload's length (step 1): a cosine cannot see it.

    s = exp(-sum of w log alpha / sum of w) over tensors of correlation rho > 1/2, alpha = <g, d> / |g|^2,
    w = rho^2 / (1 - rho^2 + 1e-4); 1 if there is none, or if the tensors disagree so much that 1 is as likely.
    """
    totals = torch.stack([tensor.whole.sum(1) for tensor in evidence.values()])
    count, gg, gd, dd = totals.unbind(-1)
    rho = gd / (gg * dd).sqrt().clamp_min(torch.finfo(gd.dtype).tiny)
    telling = rho > TELLING
    weight = torch.where(telling, rho.square() / (1 - rho.square() + SOFTEN), 0)
    logs = torch.where(telling, gd / torch.where(telling, gg, 1), 1).log()
    total = weight.sum(0).clamp_min(SOFTEN)
    mean = (weight * logs).sum(0) / total
    scatter = (weight * (logs - mean).square()).sum(0) / total
    # The number of equal tensors that would weigh as much.
    number = total.square() / weight.square().sum(0).clamp_min(SOFTEN**2)
    # The variance of one tensor's log alpha, (1 - rho^2) / (rho^2 m), and that of the mean by the scatter between tensors.
    single = (1 - rho.square()).clamp_min(0) / (rho.square() * count).clamp_min(SOFTEN)
    drawn = (weight.square() * single).sum(0) / total.square()
    error = (drawn + scatter / (number - 1).clamp_min(SOFTEN)).sqrt()
    changed = mean.abs() > CERTAIN * error.clamp_min(torch.finfo(torch.float32).eps)
    # A defense that changes lengths changes most of them; the rest are errors of the estimate.
    return torch.where(changed & (changed.double().mean() > 0.5), (-mean).exp(), 1)


def log_ratio(square: Tensor, count: Tensor, prior: Tensor) -> Tensor:
    """Return log(square / (count prior)), of zero -inf (step 3); a channel that was always zero counts as a tiny prior."""
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
    chance = gd < SIGNIFICANT * (gg * dd / count.clamp_min(1)).sqrt()
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
    """Return the sums over a part's coefficients; `where` is each channel's cell, `rough` tau with the higher floor."""
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
    """Return the two parts of the basis that predicts a tensor better (step 5); of a bounded tensor those of the coordinates."""
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


def floor_of(evidence: dict[str, Evidence]) -> float:
    """Return F, a share of the mean square of all true coefficients."""
    totals = torch.stack([tensor.whole.sum((0, 1)) for tensor in evidence.values()]).sum(0)
    return KAPPA * float(totals[GG] / totals[COUNT])
