"""The place and strength of Shadow's noise: one pure function per equation (arXiv 2506.15711).

Symbols: t round, R rounds, x image, e squared error of the shadow's copy, N sensitivity map, S saliency map.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gradsiege.images import LUMINANCE

LEVELS = 256


def spatial_softmax(values: Tensor) -> Tensor:
    """Return the softmax of every image over all its elements; each ``values[i]`` then sums to 1.

    >>> spatial_softmax(torch.zeros(1, 1, 2, 2)).flatten()
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    return values.flatten(1).softmax(1).reshape(values.shape)


def accuracy_map(error: Tensor, temperature: float) -> Tensor:
    """Return n = 1 / softmax(e / T): large where the shadow's copy is close to the image.

    >>> accuracy_map(torch.tensor([[[[0.0, 20 * 0.6931472]]]]), 20.0).flatten()
    tensor([3.0000, 1.5000])
    """
    return 1 / spatial_softmax(error / temperature)


def luminance(values: Tensor) -> Tensor:
    """Return ``[n, 1, h, w]``: the luminance of three channels, the mean of any other number."""
    if values.shape[1] != len(LUMINANCE):
        return values.mean(1, keepdim=True)
    weights = torch.tensor(LUMINANCE, dtype=values.dtype, device=values.device)
    return (values * weights[:, None, None]).sum(1, keepdim=True)


def equalise(values: Tensor) -> Tensor:
    """Return 255 (F(b) - F(0)) / (1 - F(0)), the histogram equalisation of a whole batch to 0..255.

    b is the bin of a value among 256 equal ones between the batch's extremes, F the share of values in bins
    up to b. A continuous distribution becomes uniform; equal values become zero.

    >>> equalise(torch.tensor([0.0, 0.001, 0.01, 1.0]))
    tensor([  0.,   0., 127., 255.])
    """
    low, high = values.min(), values.max()
    if low == high:
        return torch.zeros_like(values)
    bins = ((values - low) / (high - low) * (LEVELS - 1)).long()
    shares = torch.bincount(bins.flatten(), minlength=LEVELS).cumsum(0)
    first = shares[0]
    levels = (LEVELS - 1) * (shares - first).double() / (shares[-1] - first)
    return levels.floor().to(values.dtype)[bins]


def scramble(values: Tensor, channels: int) -> Tensor:
    """Return the released code's misplaced map: ``[n, 1, h, w]`` -> ``[n, channels, h, w]``.

    Every pixel is written `channels` times in a row and the result read as channels after channels, so
    channel 0 holds the stretched upper part of the map and the last channel the lower part.

    >>> scramble(torch.tensor([[[[1.0], [2.0]]]]), 2).flatten()
    tensor([1., 1., 2., 2.])
    """
    n, _, h, w = values.shape
    return values.flatten(1).repeat_interleave(channels, 1).reshape(n, channels, h, w)


def sensitivity_map(error: Tensor, temperature: float, scrambled: bool = False) -> Tensor:
    """Return N = softmax(equalise(1 / softmax(e / T)) / T) over channels and pixels of each image.

    N is positive, sums to 1 per image, and is large where the shadow reconstructs the image well.

    Args:
        error: e = (G(z) - x)^2 of normalised images, ``[n, c, h, w]``.
        temperature: T.
        scrambled: misplace the map as the released code does, instead of repeating it over the channels.
    """
    # The errors of a good shadow are nearly equal; single precision would lose their order.
    equalised = equalise(luminance(accuracy_map(error.double(), temperature))).to(error.dtype)
    place = scramble if scrambled else _replicate
    return spatial_softmax(place(equalised, error.shape[1]) / temperature)


def _replicate(values: Tensor, channels: int) -> Tensor:
    return values.expand(-1, channels, -1, -1)


def remember(old: Tensor | None, new: Tensor, momentum: float) -> Tensor:
    """Return the memory M = momentum * M_old + (1 - momentum) * N; an image met for the first time has M = N.

    >>> remember(torch.tensor([1.0]), torch.tensor([2.0]), 0.1)
    tensor([1.9000])
    """
    return new if old is None else momentum * old + (1 - momentum) * new


def top_fraction(values: Tensor, fraction: float) -> Tensor:
    """Return maps ``[n, h, w]`` with all but the floor(fraction * h * w) largest pixels of each set to 0.

    >>> top_fraction(torch.tensor([[[4.0, 1.0], [3.0, 2.0]]]), 0.5)
    tensor([[[4., 0.],
             [3., 0.]]])
    """
    flat = values.flatten(1)
    count = math.floor(fraction * flat.shape[1] + 1e-9)
    largest = flat.topk(count, 1)
    return torch.zeros_like(flat).scatter(1, largest.indices, largest.values).reshape(values.shape)


def saliency_map(cam: Tensor, sensitivity: Tensor, fraction: float) -> Tensor:
    """Return S ``[n, 1, h, w]``: the top pixels of a class activation map, scaled so that max S = max N.

    A map that is zero everywhere stays zero. `cam` is ``[n, h, w]``, `sensitivity` N is ``[n, c, h, w]``.
    """
    top = top_fraction(cam, fraction)
    peak = top.amax((1, 2), keepdim=True)
    unit = torch.where(peak > 0, top / peak.clamp(min=1e-30), 0)
    return unit[:, None] * sensitivity.amax((1, 2, 3), keepdim=True)


def flat_saliency_map(cam: Tensor, fraction: float, temperature: float) -> Tensor:
    """Return the released code's S = softmax(top(cam) / T) ``[n, 1, h, w]``: within 5 % of constant at T = 20."""
    return spatial_softmax(top_fraction(cam, fraction) / temperature)[:, None]


def saliency_weight(progress: float, low: float, high: float) -> float:
    """Return a_t = clip(t / R, low, high).

    >>> saliency_weight(0.0, 0.1, 0.5), saliency_weight(0.3, 0.1, 0.5), saliency_weight(0.99, 0.1, 0.5)
    (0.1, 0.3, 0.5)
    """
    return min(high, max(low, progress))


def strength(progress: float, amplitude: float) -> float:
    """Return s_t = amplitude * exp(t / R): the peak of the noise relative to the peak of the image.

    >>> round(strength(0.0, 0.19), 4), round(strength(0.99, 0.19), 4)
    (0.19, 0.5113)
    """
    return amplitude * math.exp(progress)


def mean_strength(rounds: int, amplitude: float) -> float:
    """Return the root mean square of s_t over the rounds t = 0 .. R - 1: the constant of equal energy.

    >>> round(mean_strength(100, 0.19), 4), mean_strength(1, 0.19)
    (0.3379, 0.19)
    """
    squares = [strength(number / rounds, amplitude) ** 2 for number in range(rounds)]
    return math.sqrt(sum(squares) / rounds)


def spare(sensitivity: Tensor, saliency: Tensor, weight: float, signed: bool = False) -> Tensor:
    """Return P = N - a sign(N) S; unless `signed`, |P| stops at zero instead of growing again where a S > |N|.

    >>> spare(torch.tensor([0.5, 0.1]), torch.tensor([0.4, 0.4]), 0.5)
    tensor([0.3000, 0.0000])
    >>> spare(torch.tensor([0.5, 0.1]), torch.tensor([0.4, 0.4]), 0.5, signed=True)
    tensor([ 0.3000, -0.1000])
    """
    if signed:
        return sensitivity - weight * sensitivity.sign() * saliency
    return sensitivity.sign() * (sensitivity.abs() - weight * saliency).clamp(min=0)


def noise(images: Tensor, pattern: Tensor, scale: float) -> Tensor:
    """Return |max(x) / max(P) * s| P of every image, in the units of `images` ``[n, c, h, w]``.

    >>> noise(torch.full((1, 1, 1, 2), 2.0), torch.tensor([[[[0.5, 0.25]]]]), 0.1)
    tensor([[[[0.2000, 0.1000]]]])
    """
    top = pattern.amax((1, 2, 3), keepdim=True)
    # If the saliency outweighs the whole map, as the released flat one does, the pattern is zero and there is no noise.
    peak = torch.where(top == 0, 0, images.amax((1, 2, 3), keepdim=True) / top)
    return (peak * scale).abs() * pattern
