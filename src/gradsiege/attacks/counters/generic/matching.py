"""Matching by learned reliability (step 7): a cosine of weighted coefficients."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from gradsiege.attacks.counters.generic.additive import HeavyNoise, Noise, additive, heavy
from gradsiege.attacks.counters.generic.information import Energy, information, nats
from gradsiege.attacks.counters.generic.laws import Saturation, limits, saturation
from gradsiege.attacks.counters.generic.lengths import Shape, shape_of
from gradsiege.attacks.counters.generic.moments import COUNT, Evidence
from gradsiege.attacks.counters.generic.products import inner_products, products_of
from gradsiege.attacks.counters.generic.reliability import Part, learn_tensor
from gradsiege.attacks.counters.generic.scales import KAPPA, client_scales, floor_of
from gradsiege.attacks.counters.views import excess, smallest_received
from gradsiege.attacks.objectives.distances import cosine
from gradsiege.protocol.local_update import Tensors

# Weights of a tensor's coefficients in the cosine, or a law that stands instead of them.
Weights = dict[str, Part] | Noise | Saturation
Law = Weights | HeavyNoise


@dataclass(frozen=True)
class ReliableCosine:
    """1 - cos between the candidate's coefficients times sqrt(tau) and the received ones times eta / sqrt(tau), times `factor`.

    Attributes:
        laws: what was learned of every tensor.
        bounds: what bounds the coefficients of a tensor that were not sent (`laws.limits`).
        shapes: what is known of the lengths and angles of tensors of which no coefficient says anything (`lengths`).
        factor: weight of the whole cosine (`information`).
        nat: weight of a nat outside the cosine: of lengths and angles, and noise with heavy tails (`additive`).
        silent: weight of the plain cosine where an update says nothing: 1, but 0 beside a density, which then decides alone.
    """

    # `vmap` writes out the function that it maps, which takes longer than the function if that means a thousand tensors.
    laws: dict[str, Law] = field(repr=False)
    bounds: dict[str, str]
    shapes: dict[str, Shape] = field(repr=False)
    factor: float
    nat: float
    silent: float = 1.0

    def __call__(self, candidate: Tensors, observed: Tensors) -> Tensor:
        """Return the distance of one element; `silent` times the plain cosine if nothing says anything."""
        products: list[Tensor] = []
        apart: list[Tensor] = []
        for name, received in observed.items():
            law = self.laws[name]
            if name in self.shapes:
                apart.append(self.shapes[name].nats(candidate[name], received))
            if isinstance(law, HeavyNoise):
                apart.append(law.nats(candidate[name], received))
                continue
            if isinstance(law, dict):
                over = self._beyond(candidate[name], name, observed)
                products.append(products_of(candidate[name], received, law, over))
            else:
                weighted = inner_products(*law.weighted(candidate[name], received))
                plain = inner_products(candidate[name], received)
                products.append(torch.stack([weighted, plain]))
        if not products:
            return self.nat * torch.stack(apart).sum()
        # [2, 3, tensors]: weighted and plain; products, ours, theirs.
        weighted, plain = torch.stack(products, -1).unbind()
        says = weighted[2].sum() > 0
        coefficients = self.factor * cosine.combine(*weighted)
        if not apart:
            return torch.where(says, coefficients, self.silent * cosine.combine(*plain))
        return torch.where(says, coefficients, 0) + self.nat * torch.stack(apart).sum()

    def _beyond(self, value: Tensor, name: str, observed: Tensors) -> Tensor | None:
        """Return, where nothing was sent, how far a candidate's tensor exceeds its bound; None if it has none."""
        bound = self.bounds.get(name)
        if bound is None:
            return None
        tensors = [observed[name]] if bound == "tensor" else list(observed.values())
        limit = torch.stack([smallest_received(tensor) for tensor in tensors]).amin()
        return excess(value, observed[name], limit)


def learn(evidence: dict[str, Evidence], like: Tensor, unit: str = "free") -> ReliableCosine:
    """Return the match that simulated clients suggest, its tables on the device and in the type of a tensor.

    Args:
        evidence: of every tensor by name, sums ``[clients, channels, 4]``.
        like: gives device and type.
        unit: ``nats`` per coordinate, or ``free``, beside which no prior is a density (`recipe.Phase`).
    """
    scales, floor = client_scales(evidence), floor_of(evidence)
    bounds = limits(evidence)
    known = unit == "nats" and bool((scales == 1).all())
    laws: dict[str, Law] = {}
    shapes: dict[str, Shape] = {}
    spent: list[Energy] = []
    for name, tensor in evidence.items():
        law, energy = law_of(tensor, scales, floor, name in bounds)
        # A likelihood of heavy tails stands outside the cosine: it needs the unit of a density, and the true scale of uploads.
        tails = heavy(tensor) if known and isinstance(law, Noise) else None
        if tails is not None:
            laws[name] = tails
            continue
        laws[name] = _like(law, like)
        shape = shape_of(tensor) if not energy.ours > 0 else None
        if shape is not None:
            shapes[name] = shape
        spent.append(energy)
    coordinates = sum(float(tensor.totals[0, :, COUNT].sum()) for tensor in evidence.values())
    total = sum(spent[1:], spent[0]) if spent else None
    if unit == "nats":
        factor = nats(total, floor) / (len(scales) * coordinates) if total else 0.0
        return ReliableCosine(laws, bounds, shapes, factor, 1 / coordinates, silent=0.0)
    return ReliableCosine(
        laws, bounds, shapes, information(total) if total else 0.0, KAPPA / coordinates
    )


def law_of(
    evidence: Evidence, scales: Tensor, floor: float, bounded: bool
) -> tuple[Weights, Energy]:
    """Return the simplest law that a tensor follows: soft signs, additive noise, or a table of cells.

    scales: ``[clients]``, the factor of each upload.
    """
    return (
        saturation(evidence, floor)
        or additive(evidence, scales, floor)
        or learn_tensor(evidence, scales, floor, bounded)
    )


def _like(law: Weights, like: Tensor) -> Weights:
    if isinstance(law, dict):
        return {part: value.to(like) for part, value in law.items()}
    return law.to(like)
