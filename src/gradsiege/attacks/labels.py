"""Labels from the last layer's update; none of these rules ever sees a true label."""

from __future__ import annotations

import torch
from torch import Tensor

from gradsiege.protocol.local_update import Tensors


def head_weight(update: Tensors) -> Tensor:
    """Return the update of the last layer's weight, ``[..., classes, features]``."""
    names = [name for name in update if name.endswith("head.weight")]
    return update[names[-1]]


def row_sum(update: Tensors, images: int) -> Tensor:
    """Return the `images` classes with the smallest row sums, sorted, ``[victims, images]``.

    For one image and non-negative features the row sum of the true class alone is negative, hence exact (Zhao
    et al., iDLG, 2020, equation 6). For more images it assumes distinct labels.

    >>> gradient = {"head.weight": torch.tensor([[[0.2, 0.1], [-0.5, -0.3], [0.3, 0.2]]])}
    >>> row_sum(gradient, 1)
    tensor([[1]])
    """
    sums = head_weight(update).sum(-1)
    return sums.topk(images, largest=False).indices.sort(-1).values


def row_minimum(update: Tensors, images: int) -> Tensor:
    """Return the `images` classes with the smallest row minimum, sorted, ``[victims, images]``.

    Yin et al., GradInversion, CVPR 2021, equation 7: distinct labels, non-negative features.

    >>> gradient = {"head.weight": torch.tensor([[[0.2, 0.1], [-0.5, 0.3], [-0.1, 0.2]]])}
    >>> row_minimum(gradient, 2)
    tensor([[1, 2]])
    """
    minima = head_weight(update).amin(-1)
    return minima.topk(images, largest=False).indices.sort(-1).values


def bias_corrected(update: Tensors, images: int) -> Tensor:
    """Return `images` labels with duplicates from the head's bias gradient, sorted, ``[victims, images]``.

    Each image of class c adds about -1/B to the bias gradient of c and little elsewhere. Every class with a
    negative gradient is counted once; then the class that is most negative after its counted images were
    taken out is counted, until there are B labels (after Wainakh et al., PoPETs 2022, without auxiliary data).

    >>> gradient = {"head.bias": torch.tensor([[0.1, -0.6, -0.2, 0.1]]), "head.weight": torch.zeros(1, 4, 1)}
    >>> bias_corrected(gradient, 4)
    tensor([[1, 1, 1, 2]])
    """
    name = next(name for name in reversed(list(update)) if name.endswith("head.bias"))
    return torch.stack([_greedy_counts(bias, images) for bias in update[name]])


def _greedy_counts(bias: Tensor, images: int) -> Tensor:
    negative = (bias < 0).nonzero().flatten()
    impact = bias[negative].sum() / images
    left = bias.clone()
    order = negative[bias[negative].argsort()][:images]
    left[order] -= impact
    found = order.tolist()
    while len(found) < images:
        label = int(left.argmin())
        left[label] -= impact
        found.append(label)
    return torch.tensor(sorted(found), device=bias.device)


def ordered(inferred: Tensor, given: Tensor) -> Tensor:
    """Return the inferred labels ``[victims, images]``, each at a place where the given one is the same, if there is any.

    What GIFD's released code does with the true labels, for which a threat model must grant them. The labels that
    were inferred wrongly fill the places left, in their order.

    >>> ordered(torch.tensor([[1, 4, 7]]), torch.tensor([[7, 2, 1]]))
    tensor([[7, 4, 1]])
    """
    rows = []
    for own, wanted in zip(inferred.tolist(), given.tolist(), strict=True):
        left = list(own)
        row = [left.pop(left.index(label)) if label in left else None for label in wanted]
        rows.append([left.pop(0) if label is None else label for label in row])
    return torch.tensor(rows)


RULES = {"row_sum": row_sum, "row_minimum": row_minimum, "bias_corrected": bias_corrected}


def infer(update: Tensors, images: int, rule: str = "automatic") -> Tensor:
    """Return inferred labels ``[victims, images]``.

    The ``automatic`` rule is the row sum for one image and bias-corrected counts for more. A non-finite update yields some label; its victim is recorded as failed before this is asked.
    """
    clean = {name: torch.nan_to_num(value) for name, value in update.items()}
    if rule == "automatic":
        rule = "row_sum" if images == 1 else "bias_corrected"
    return RULES[rule](clean, images)
