"""Gradient-level scores of counters that drop channels: comparison of the kept channels with the update before the defense.

All scores are computed from the per-channel inner products that `observe` stores for explained victims, and from the flags
that the attack stores. No gradient is stored or computed again.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gradsiege.protocol.local_update import Tensors
from gradsiege.protocol.observation import group

COLUMNS = ("cosine_received", "cosine_matched", "energy_kept", "detection_auc")


def cosine(products: Tensors, matched: Tensors) -> tuple[float, float]:
    """Return the cosine of received and true update over the kept channels, and their share of the true update's energy.

    Args:
        products: ``[out, 3]`` for every parameter: <received, true>, |received|^2, |true|^2 of its channels.
        matched: bool ``[out]`` for every parameter; a parameter without flags keeps all channels.

    >>> products = {"w": torch.tensor([[4.0, 4.0, 4.0], [0.0, 9.0, 12.0]])}
    >>> [round(value, 3) for value in cosine(products, {})], cosine(products, {"w": torch.tensor([True, False])})
    ([0.277, 1.0], (1.0, 0.25))
    """
    rows = [value[matched[name]] if name in matched else value for name, value in products.items()]
    product, received, true = torch.cat(rows).double().sum(0).tolist()
    energy = float(torch.cat(list(products.values()))[:, 2].double().sum())
    if not (received and true and energy):
        return math.nan, math.nan
    return product / math.sqrt(received * true), true / energy


def area_under_roc(scores: Tensor, positive: Tensor) -> float:
    """Return the area under the ROC curve of `scores [n]` for the class `positive`, bool ``[n]``; NaN if one class is empty.

    It is the probability that a positive scores higher than a negative; a tie counts one half.

    >>> area_under_roc(torch.tensor([3.0, 2.0, 1.0]), torch.tensor([True, False, False]))
    1.0
    """
    high, low = scores[positive].double(), scores[~positive].double()
    if not (len(high) and len(low)):
        return math.nan
    difference = high[:, None] - low
    return float(((difference > 0).double() + 0.5 * (difference == 0)).mean())


def detection(products: Tensors, changes: Tensors) -> float:
    """Return the AUC of detecting changed channels by the norm of their update, averaged over convolutions; NaN if undefined.

    Args:
        products: ``[out, 3]`` for every parameter, as in `cosine`.
        changes: ``[out]`` for every convolution, by layer: l2 norm of the defense's change of each channel.

    >>> products = {"conv.weight": torch.tensor([[4.0, 9.0, 4.0], [1.0, 1.0, 1.0]])}
    >>> detection(products, {"conv": torch.tensor([0.5, 0.0])})
    1.0
    """
    areas = [
        area_under_roc(products[f"{layer}.weight"][:, 1], change > 0)
        for layer, change in changes.items()
        if f"{layer}.weight" in products
    ]
    known = [value for value in areas if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def gradient_level(
    explained: Tensors, matched_channels: Tensors, victims: int, images: int
) -> Tensors:
    """Return the scores `COLUMNS` of every victim image, ``[victims * images]``; NaN for victims without diagnostics.

    Args:
        explained: diagnostics of the first victims, ``[explained, ...]`` by name.
        matched_channels: flags of the attack for every parameter, bool ``[victims, out]``.
        victims: number of victims.
        images: number of images per victim.
    """
    rows = torch.full((victims, len(COLUMNS)), math.nan)
    products = group(explained, "products.")
    changes = group(explained, "change.")
    for victim in range(len(next(iter(products.values()), ()))):
        of_victim = {name: value[victim] for name, value in products.items()}
        flags = {name: value[victim] for name, value in matched_channels.items()}
        received, _ = cosine(of_victim, {})
        matched, energy = cosine(of_victim, flags)
        area = detection(of_victim, {name: value[victim] for name, value in changes.items()})
        rows[victim] = torch.tensor([received, matched, energy, area])
    spread = rows.repeat_interleave(images, 0)
    return {name: spread[:, place] for place, name in enumerate(COLUMNS)}
