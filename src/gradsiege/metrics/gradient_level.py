"""What a counter that drops channels makes of an update, seen from the update before the defense.

Everything is computed of per-channel inner products, which `observe` keeps of explained victims, and of the flags that the
attack kept; no gradient is stored or formed again.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gradsiege.protocol.local_update import Tensors
from gradsiege.protocol.observation import group

COLUMNS = ("cosine_received", "cosine_matched", "energy_kept", "detection_auc")


def cosine(products: Tensors, kept: Tensors) -> tuple[float, float]:
    """Return the cosine of received and true update over the kept channels, and their share of the true one's energy.

    Args:
        products: ``[out, 3]`` for every parameter: <received, true>, |received|^2, |true|^2 of its channels.
        kept: ``[out]`` flags for every parameter; all are kept of one that is missing.

    >>> products = {"w": torch.tensor([[4.0, 4.0, 4.0], [0.0, 9.0, 12.0]])}
    >>> [round(value, 3) for value in cosine(products, {})], cosine(products, {"w": torch.tensor([True, False])})
    ([0.277, 1.0], (1.0, 0.25))
    """
    rows = [value[kept[name]] if name in kept else value for name, value in products.items()]
    product, received, true = torch.cat(rows).double().sum(0).tolist()
    whole = float(torch.cat(list(products.values()))[:, 2].double().sum())
    if not (received and true and whole):
        return math.nan, math.nan
    return product / math.sqrt(received * true), true / whole


def area_under_roc(scores: Tensor, positive: Tensor) -> float:
    """Return the chance that a positive scores higher than a negative, ties by half; NaN without one of either.

    >>> area_under_roc(torch.tensor([3.0, 2.0, 1.0]), torch.tensor([True, False, False]))
    1.0
    """
    high, low = scores[positive].double(), scores[~positive].double()
    if not (len(high) and len(low)):
        return math.nan
    difference = high[:, None] - low
    return float(((difference > 0).double() + 0.5 * (difference == 0)).mean())


def detection(products: Tensors, changes: Tensors) -> float:
    """Return the mean over convolutions of the AUC with which a channel's update norm tells changed from clean ones.

    Args:
        changes: ``[out]`` for every convolution, by layer: how far the defense moved each channel.
    """
    found = [
        area_under_roc(products[f"{layer}.weight"][:, 1], change > 0)
        for layer, change in changes.items()
        if f"{layer}.weight" in products
    ]
    known = [value for value in found if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def gradient_level(explained: Tensors, kept: Tensors, victims: int, images: int) -> Tensors:
    """Return `COLUMNS` for every victim image, ``[victims * images]``, NaN where a victim was not explained.

    Args:
        explained: the explanation of the first victims, ``[explained, ...]`` by name.
        kept: flags of the attack, ``[victims, out]``.
    """
    rows = torch.full((victims, len(COLUMNS)), math.nan)
    products = group(explained, "products.")
    changes = group(explained, "change.")
    for victim in range(len(next(iter(products.values()), ()))):
        own = {name: value[victim] for name, value in products.items()}
        flags = {name: value[victim] for name, value in kept.items()}
        received, _ = cosine(own, {})
        matched, energy = cosine(own, flags)
        found = detection(own, {name: value[victim] for name, value in changes.items()})
        rows[victim] = torch.tensor([received, matched, energy, found])
    spread = rows.repeat_interleave(images, 0)
    return {name: spread[:, place] for place, name in enumerate(COLUMNS)}
