"""Share of a batch's labels that the attacker inferred."""

from __future__ import annotations

import torch
from torch import Tensor

UNKNOWN = -1
"""The value of a label that the attacker did not infer; it never counts as right."""


def label_accuracy(inferred: Tensor, true: Tensor) -> Tensor:
    """Share of each batch's labels that were inferred, as multisets: |inferred ∩ true| / B.

    A gradient reveals which labels a batch holds and how often, not their order, so order does not
    count and duplicates do (Wainakh et al., User-level label leakage from gradients in federated
    learning, PoPETs 2022): guessing one label B times is right only as often as the batch holds it.

    Args:
        inferred: int64 [v, B], one row per victim batch; `UNKNOWN` where no label was inferred.
        true: int64 [v, B], labels >= 0.

    Returns:
        float64 [v] in [0, 1].

    Raises:
        TypeError: Not int64.
        ValueError: Shapes differ (a longer guess could list every label), or negative labels.

    >>> true = torch.tensor([[3, 3, 5, 7], [1, 1, 1, 1]])
    >>> label_accuracy(torch.tensor([[5, 3, 0, 5], [1, 1, 1, 1]]), true).tolist()
    [0.5, 1.0]
    """
    _check(inferred, true)
    classes = int(true.max()) + 1
    overlap = torch.minimum(_counts(inferred, classes), _counts(true, classes))
    return overlap.sum(dim=1).double() / true.shape[1]


def _counts(labels: Tensor, classes: int) -> Tensor:
    """Return the count of each class below `classes` in each row: int64 [v, B] -> int64 [v, classes]."""
    counts = torch.zeros(len(labels), classes + 1, dtype=torch.int64, device=labels.device)
    # Unknown labels and guesses of other classes share a last column, which is dropped.
    columns = labels.where(labels != UNKNOWN, classes).clamp(max=classes)
    return counts.scatter_add(1, columns, torch.ones_like(columns))[:, :classes]


def _check(inferred: Tensor, true: Tensor) -> None:
    for name, labels, least in (("inferred", inferred, UNKNOWN), ("true", true, 0)):
        if labels.dtype != torch.int64:
            raise TypeError(f"{name}: dtype is {labels.dtype}, labels need int64: pass .long()")
        if labels.ndim != 2 or labels.numel() == 0:
            raise ValueError(f"{name}: shape is {list(labels.shape)}, expected non-empty [v, B]")
        if int(labels.min()) < least:
            raise ValueError(f"{name}: label {int(labels.min())} is below {least}")
    if inferred.shape != true.shape:
        raise ValueError(
            f"inferred has shape {list(inferred.shape)} and true {list(true.shape)}: name exactly "
            f"one label per image, {UNKNOWN} where none was inferred"
        )
