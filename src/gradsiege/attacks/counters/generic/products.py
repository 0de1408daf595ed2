"""The inner products that a cosine of weighted coefficients needs, of one tensor of one client.

All coefficients of a channel have one weight, so that a channel's products are taken first and weighted then: coefficients multiplied by
their weights, part by part, would be a dozen copies of an update in every iteration.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradsiege.arithmetic import square_root
from gradsiege.attacks.counters.generic.moments import by_channel, kernel_means, kernel_rest
from gradsiege.attacks.counters.generic.reliability import Part, log_ratio, place

# A coefficient of less weight is not matched.
LEAST_WEIGHT = 1e-9


def inner_products(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return <ours, theirs>, |ours|^2 and |theirs|^2, ``[3]``.

    >>> inner_products(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 0.0])).tolist()
    [3.0, 5.0, 9.0]
    """
    return torch.stack([(ours * theirs).sum(), ours.square().sum(), theirs.square().sum()])


def roots(learnt: Part, energy: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Return sqrt(tau) and eta / sqrt(tau) of every channel (step 7), both 0 for those that are not matched.

    energy, count: ``[channels]``, sum of squares and number of the part's received coefficients.
    """
    cell = place(log_ratio(energy, count, learnt.prior), learnt.edges)[:, None]
    tau, eta = learnt.tau.gather(1, cell)[:, 0], learnt.eta.gather(1, cell)[:, 0]
    used = tau > LEAST_WEIGHT
    root = square_root(torch.where(used, tau, 1))
    return torch.where(used, root, 0), torch.where(used, eta / root, 0)


def products_of(
    candidate: Tensor, received: Tensor, law: dict[str, Part], over: Tensor | None = None
) -> Tensor:
    """Return the inner products of a tensor's coefficients over both of its parts, weighted and as they are, ``[2, 3]``.

    Args:
        law: of the parts ``received`` and ``zero``, or of ``mean`` and ``rest``.
        over: how far the candidate exceeds a bound where nothing was received, in the shape of the tensor. It has the full weight, since
            the truth never does.
    """
    if "mean" in law:
        mean = _whole(kernel_means(candidate), kernel_means(received), law["mean"])
        return mean + _whole(kernel_rest(candidate), kernel_rest(received), law["rest"])
    ours, theirs = by_channel(candidate), by_channel(received)
    sent = theirs != 0
    count, energy = sent.sum(1), theirs.square().sum(1)
    matched = (ours * theirs).sum(1), torch.where(sent, ours, 0).square().sum(1), energy
    weighted, plain = _channels(*matched, count, law["received"])
    root, _ = roots(law["zero"], torch.zeros_like(energy), sent.shape[1] - count)
    unsent = torch.where(sent, 0, ours)
    rest = unsent.square().sum(1)
    if over is None:
        square = (root.square() * rest).sum()
    else:
        beyond = torch.where(sent, 0, by_channel(over))
        square = (root[:, None] * unsent + (1 - root)[:, None] * beyond).square().sum()
    # Nothing was received there: only the candidate's own square counts.
    silent = torch.stack([square, rest.sum()])[:, None] * square.new_tensor([0, 1, 0])
    return torch.stack([weighted, plain]) + silent


def _whole(candidate: Tensor, received: Tensor, learnt: Part) -> Tensor:
    """Return the products ``[2, 3]`` of a part of which every channel has all coefficients."""
    ours, theirs = by_channel(candidate), by_channel(received)
    energy = theirs.square().sum(1)
    count = torch.full_like(energy, theirs.shape[1])
    matched = (ours * theirs).sum(1), ours.square().sum(1), energy
    return torch.stack(_channels(*matched, count, learnt))


def _channels(
    product: Tensor, square: Tensor, energy: Tensor, count: Tensor, learnt: Part
) -> tuple[Tensor, Tensor]:
    """Return the sums over channels, weighted and as they are, ``[3]`` each; every argument is ``[channels]``."""
    root, factor = roots(learnt, energy, count)
    plain = torch.stack([product, square, energy])
    return (torch.stack([root * factor, root.square(), factor.square()]) * plain).sum(1), plain.sum(
        1
    )
