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


def infer(update: Tensors, images: int) -> Tensor:
    """Return inferred labels ``[victims, images]``: row sum for one image, row minimum for more.

    A non-finite update yields class 0; its victim is recorded as failed before this is asked.
    """
    clean = {name: torch.nan_to_num(value) for name, value in update.items()}
    return row_sum(clean, images) if images == 1 else row_minimum(clean, images)
