"""Units of a match: the scale of every client's upload (step 1), and the floor below which no difference counts (step 6)."""

from __future__ import annotations

import torch
from torch import Tensor

from gradsiege.arithmetic import square_root
from gradsiege.attacks.counters.generic.moments import COUNT, GG, Evidence

# The floor, as a share of the mean square of all true coefficients.
KAPPA = 0.01
# A tensor tells the scale of a client's upload if its correlation exceeds this.
TELLING = 0.5
SOFTEN = 1e-4
# A scale has to differ from one by so many standard errors.
CERTAIN = 3.0


def client_scales(evidence: dict[str, Evidence]) -> Tensor:
    """Return the factor ``[clients]`` that undoes a change of an upload's length (step 1): a cosine cannot see it.

    s = exp(-sum of w log alpha / sum of w) over tensors of correlation rho > 1/2, alpha = <g, d> / |g|^2,
    w = rho^2 / (1 - rho^2 + 1e-4); 1 if there is none, or if the tensors disagree so much that 1 is as likely.
    """
    totals = torch.stack([tensor.totals.sum(1) for tensor in evidence.values()])
    count, gg, gd, dd = totals.unbind(-1)
    rho = gd / square_root(gg * dd).clamp_min(torch.finfo(gd.dtype).tiny)
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
    error = square_root(drawn + scatter / (number - 1).clamp_min(SOFTEN))
    changed = mean.abs() > CERTAIN * error.clamp_min(torch.finfo(torch.float32).eps)
    # A defense that changes lengths changes most of them; the rest are errors of the estimate.
    return torch.where(changed & (changed.double().mean() > 0.5), (-mean).exp(), 1)


def floor_of(evidence: dict[str, Evidence]) -> float:
    """Return F, a share of the mean square of all true coefficients."""
    totals = torch.stack([tensor.totals.sum((0, 1)) for tensor in evidence.values()]).sum(0)
    return KAPPA * float(totals[GG] / totals[COUNT])
