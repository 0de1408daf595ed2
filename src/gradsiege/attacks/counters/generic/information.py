"""How much all coefficients of an update say together: the weight of the match beside a regularizer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gradsiege.arithmetic import square_root


@dataclass(frozen=True)
class Energy:
    """Sums over all simulated coefficients, from which the weight of the whole match follows (`information`).

    Attributes:
        clean: of g^2.
        known: of tau g^2, with a floor of the whole mean square.
        ours, theirs: of the squares that the cosine compares, the tau g^2 of the clean ones and the upload's (eta^2 / tau) d^2.
        left: of the residual variance.
    """

    clean: Tensor
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
    much as there, it is multiplied by (known / clean) |theirs| / |ours|.
    """
    if not total.ours > 0:
        return 1.0
    return min(1.0, float(total.known / total.clean * square_root(total.theirs / total.ours)))


def nats(total: Energy, floor: float) -> float:
    """Return the factor of the whole match in nats, summed over the simulated clients.

    The tau of `information`, in units of 1 / F, are precisions: -log p is sum of (tau / F) |c - g|^2 / 2 to first order, which is
    1 - cos times |ours| |theirs| / F.

    >>> import torch
    >>> ones = torch.ones(())
    >>> nats(Energy(ones, ones, 4 * ones, 9 * ones, ones), 0.5)
    12.0
    """
    return float(square_root(total.ours * total.theirs)) / floor
