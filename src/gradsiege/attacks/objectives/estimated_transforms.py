"""The transform of a defense, estimated from the observed update and applied to the candidate's update (GGL, CVPR 2022).

The attacker knows the kind of defense and estimates or knows its strength. Each function maps (candidate, observed)
to the transformed candidate. It is pure, differentiable almost everywhere, and works under `vmap`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.distances import Distance
from gradsiege.errors import ThreatModelError
from gradsiege.protocol.local_update import Tensors, norm

Transform = Callable[..., Tensors]
TINY = 1e-12


def clipping_bound(observed: Tensors) -> Tensor:
    """Return the bound that a clipped update reveals: its own l2 norm.

    >>> clipping_bound({"a": torch.tensor([3.0]), "b": torch.tensor([[4.0]])})
    tensor(5.)
    """
    return norm(observed)


def zero_fraction(observed: Tensors) -> Tensor:
    """Return the share of coordinates, over all tensors together, that are exactly zero.

    >>> zero_fraction({"a": torch.tensor([0.0, 2.0]), "b": torch.tensor([[0.0, 0.0]])})
    tensor(0.7500)
    """
    zeros = torch.stack([(value == 0).sum() for value in observed.values()]).sum()
    return zeros / sum(value.numel() for value in observed.values())


def clip(candidate: Tensors, observed: Tensors, bound: float | None = None) -> Tensors:
    """Scale the candidate to the bound, estimated unless known: c * min(1, bound / |c|).

    >>> clip({"a": torch.tensor([6.0, 8.0])}, {"a": torch.tensor([0.0, 5.0])})
    {'a': tensor([3., 4.])}
    """
    limit = clipping_bound(observed) if bound is None else bound
    scale = (limit / norm(candidate).clamp_min(TINY)).clamp(max=1)
    return {name: value * scale for name, value in candidate.items()}


def sparsify(candidate: Tensors, observed: Tensors, sparsity: float | None = None) -> Tensors:
    """Zero a share of each tensor's smallest magnitudes, estimated unless known.

    >>> sparsify({"a": torch.tensor([4.0, 1.0, 2.0, -3.0])}, {"a": torch.tensor([0.0, 0.0, 1.0, 1.0])})
    {'a': tensor([ 4.,  0.,  0., -3.])}
    """
    share = zero_fraction(observed) if sparsity is None else torch.tensor(sparsity)
    return {name: _prune(value, share) for name, value in candidate.items()}


def _prune(value: Tensor, share: Tensor) -> Tensor:
    magnitudes = value.abs().flatten()
    place = (share * len(magnitudes)).round().long().clamp(max=len(magnitudes) - 1)
    threshold = magnitudes.sort().values.gather(0, place[None])[0]
    return value * (value.abs() >= threshold)


def mask_head(candidate: Tensors, observed: Tensors, weight: str) -> Tensors:
    """Zero the features of the last layer's weight that the first observed row lacks (Soteria's mask).

    >>> seen = {"fc.weight": torch.tensor([[0.0, 2.0], [0.0, 1.0]])}
    >>> mask_head({"fc.weight": torch.ones(2, 2)}, seen, "fc.weight")["fc.weight"].tolist()
    [[0.0, 1.0], [0.0, 1.0]]
    """
    if weight not in observed:
        # A frozen head, or one that is not matched: there is no feature to hide.
        return candidate
    return {**candidate, weight: candidate[weight] * (observed[weight][0] != 0)}


TRANSFORMS: dict[str, Transform] = {
    "clipping": clip,
    "sparsification": sparsify,
    "soteria": mask_head,
}

# The disclosed parameter, by transform, that replaces the estimated strength.
STRENGTHS = {"clipping": "bound", "sparsification": "sparsity"}


def after(
    distance: Distance,
    transform: str,
    knowledge: Knowledge,
    disclosure: Mapping[str, object] | None = None,
) -> Distance:
    """Return ``distance(T(candidate), observed)``; a kind without an estimator does not change the candidate.

    A disclosure of that kind of defense gives the strength, which is then not estimated. `knowledge` names the head.
    """
    if transform not in TRANSFORMS:
        return distance
    change = TRANSFORMS[transform]
    if change is mask_head:
        change = partial(change, weight=knowledge.head.weight)
    strength = STRENGTHS.get(transform)
    if strength and disclosure is not None and disclosure.get("defense") == transform:
        if strength not in disclosure:
            raise ThreatModelError(
                f"the disclosure of {transform} does not say its {strength}, only {sorted(disclosure)}"
            )
        change = partial(change, **{strength: float(str(disclosure[strength]))})

    def transformed(candidate: Tensors, observed: Tensors) -> Tensor:
        return distance(change(candidate, observed), observed)

    return transformed
