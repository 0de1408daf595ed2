"""Matching by learned reliability (step 7): a cosine of weighted coefficients."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from gradsiege.attacks.counters.generic.information import Energy, information
from gradsiege.attacks.counters.generic.laws import (
    Saturation,
    limits,
    of_noise,
    saturation,
    white_noise,
)
from gradsiege.attacks.counters.generic.moments import (
    Evidence,
    by_channel,
    kernel_means,
    kernel_rest,
    soft_sign,
)
from gradsiege.attacks.counters.generic.reliability import Part, learn_tensor, log_ratio, place
from gradsiege.attacks.counters.generic.scales import client_scales, floor_of
from gradsiege.attacks.counters.views import excess, smallest_received
from gradsiege.attacks.objectives.distances import cosine
from gradsiege.protocol.local_update import Tensors

# A coefficient of less weight is not matched.
LEAST_WEIGHT = 1e-9

Law = dict[str, Part] | Saturation


@dataclass(frozen=True)
class ReliableCosine:
    """1 - cos between the candidate's coefficients times sqrt(tau) and the received ones times eta / sqrt(tau), times `factor`.

    Attributes:
        laws: what was learned of every tensor.
        bounds: what bounds the coefficients of a tensor that were not sent (`laws.limits`).
        factor: weight of the whole match beside regularizers (`reliability.information`).
    """

    # `vmap` writes out the function that it maps, which takes longer than the function if that means a thousand tensors.
    laws: dict[str, Law] = field(repr=False)
    bounds: dict[str, str]
    factor: float

    def __call__(self, candidate: Tensors, observed: Tensors) -> Tensor:
        """Return the distance of one element; the plain cosine if no coefficient says anything."""
        ours: Tensors = {}
        theirs: Tensors = {}
        for name, received in observed.items():
            law = self.laws[name]
            if isinstance(law, Saturation):
                ours[name], theirs[name] = (
                    law.ours * soft_sign(candidate[name]),
                    law.theirs * received,
                )
                continue
            over = self._beyond(candidate[name], name, observed)
            for part, learnt in law.items():
                key = f"{name} {part}"
                bounded = over if part == "zero" else None
                ours[key], theirs[key] = weighted(candidate[name], received, part, learnt, bounded)
        says = torch.stack([value.square().sum() for value in theirs.values()]).sum() > 0
        return torch.where(says, self.factor * cosine(ours, theirs), cosine(candidate, observed))

    def _beyond(self, value: Tensor, name: str, observed: Tensors) -> Tensor | None:
        """Return, where nothing was sent, how far a candidate's tensor exceeds its bound; None if it has none."""
        bound = self.bounds.get(name)
        if bound is None:
            return None
        tensors = [observed[name]] if bound == "tensor" else list(observed.values())
        limit = torch.stack([smallest_received(tensor) for tensor in tensors]).amin()
        return excess(value, observed[name], limit)


def learn(evidence: dict[str, Evidence], like: Tensor) -> ReliableCosine:
    """Return the match that simulated clients suggest, its tables on the device and in the type of a tensor.

    evidence: of every tensor by name, sums ``[clients, channels, 4]``; like: any tensor.
    """
    scales, floor = client_scales(evidence), floor_of(evidence)
    bounds = limits(evidence)
    laws: dict[str, Law] = {}
    spent: list[Energy] = []
    for name, tensor in evidence.items():
        bent = saturation(tensor, floor)
        noise = white_noise(tensor, scales)
        if bent is not None:
            laws[name], energy = bent
        else:
            parts, energy = (
                learn_tensor(tensor, scales, floor, name in bounds)
                if noise is None
                else of_noise(tensor, scales, noise, floor)
            )
            laws[name] = {part: value.to(like) for part, value in parts.items()}
        spent.append(energy)
    total = spent[0]
    for energy in spent[1:]:
        total = total + energy
    return ReliableCosine(laws, bounds, information(total))


def weighted(
    candidate: Tensor, received: Tensor, part: str, learnt: Part, over: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the weighted coefficients of a candidate and of the upload, ``[channels, coefficients]``.

    What exceeds a bound, `over` in the shape of the tensor, has the full weight, since the truth never does.
    """
    ours, theirs, there = coefficients(candidate, received, part)
    value = log_ratio(theirs.square().sum(1), there.sum(1), learnt.prior)
    cell = place(value, learnt.edges)[:, None]
    tau, eta = learnt.tau.gather(1, cell), learnt.eta.gather(1, cell)
    used = tau > LEAST_WEIGHT
    root = torch.where(used, tau, 1).sqrt()
    root, factor = torch.where(used, root, 0), torch.where(used, eta / root, 0)
    if over is None:
        return root * there * ours, factor * theirs
    return there * (root * ours + (1 - root) * by_channel(over)), factor * theirs


def coefficients(candidate: Tensor, received: Tensor, part: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return a part's coefficients of candidate and upload, ``[channels, coefficients]``, and where it has any (1 or 0)."""
    if part == "mean":
        ours, theirs = kernel_means(candidate), kernel_means(received)
    elif part == "rest":
        ours, theirs = kernel_rest(candidate), kernel_rest(received)
    elif part == "whole":
        ours, theirs = candidate, received
    else:
        there = by_channel((received != 0) == (part == "received")).to(received)
        return by_channel(candidate), by_channel(received) * there, there
    return by_channel(ours), by_channel(theirs), torch.ones_like(by_channel(theirs))
