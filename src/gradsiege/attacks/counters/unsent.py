"""A sparse update's law: coordinates that were sent, and a bound on all that were not (Tobin, Econometrica, 1958)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.attacks.counters.noise import coordinates, log_normal_cdf
from gradsiege.protocol.local_update import Tensors

# The deviation between the candidate's update and the client's, in units of the bound. A sparse update is exact, so it stands for
# the attacker's own distance from the truth, and keeps the likelihood smooth. Not tuned.
DOUBT = 0.1
Limits = Callable[[Tensors], Tensors]


def censored_nats(value: Tensor, received: Tensor, limit: Tensor, deviation: Tensor) -> Tensor:
    """Return -log p(received | value), summed, of sent = value + N(0, deviation^2), which arrives if its magnitude exceeds `limit`.

    A coordinate that arrived has the Gaussian's density, without its constant; one that did not has the probability
    Phi((limit - v) / deviation) - Phi((-limit - v) / deviation), computed through logarithms so that it never vanishes.

    >>> unit, away = torch.tensor(1.0), torch.tensor([0.0])
    >>> [round(float(censored_nats(torch.tensor([v]), away, unit, unit)), 3) for v in (0.0, 1.0, 9.0)]
    [0.382, 0.74, 35.013]
    >>> float(censored_nats(torch.tensor([3.0]), torch.tensor([5.0]), unit, unit))
    2.0
    """
    sent = ((value - received) / deviation).square() / 2
    upper = log_normal_cdf((limit - value.abs()) / deviation)
    lower = log_normal_cdf((-limit - value.abs()) / deviation)
    # log(e^u - e^l) = u + log(1 - e^(l - u)), where l < u always.
    unsent = -upper - torch.log1p(-(lower - upper).exp())
    return torch.where(received != 0, sent, unsent).sum()


@dataclass(frozen=True)
class CensoredLikelihood:
    """-log p(observed | candidate) of a sparse update, in nats per coordinate.

    Attributes:
        limits: maps an update to the bound of every tensor's unsent coordinates; infinite where it says nothing.
    """

    limits: Limits

    def __call__(self, candidate: Tensors, observed: Tensors) -> Tensor:
        """Return the mean over all coordinates; a tensor without a bound adds nothing."""
        limits, parts = self.limits(observed), []
        for name, received in observed.items():
            known = torch.isfinite(limits[name])
            limit = torch.where(known, limits[name], 1)
            nats = censored_nats(candidate[name], received, limit, DOUBT * limit)
            parts.append(torch.where(known, nats, 0))
        return torch.stack(parts).sum() / coordinates(observed)
