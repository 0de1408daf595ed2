"""HaarPSI of Reisenhofer, Bosse, Kutyniok and Wiegand (Signal Processing: Image Communication 61, 2018).

The arithmetic is that of piq's function, operation by operation, and a test holds the two equal to the last bit. Importing piq
imports torchvision and PyTorch's compiler, which costs every process of the stage `score` seconds and 150 MB.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

C, ALPHA = 30.0, 4.2
"""The paper's constants: the stabiliser of similarities, on pixels in [0, 255], and the slope of the logistic function."""

SCALES = 3
"""Scales of wavelets: the two finest are compared, the coarsest weighs the pixels."""

YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
"""Luminance and two chrominances of red, green and blue."""


def haarpsi(x: Tensor, y: Tensor) -> Tensor:
    """Return HaarPSI of each pair of images ``[n, 1 or 3, H, W]`` in [0, 1], ``[n]``.

    A logistic mean of the similarities of wavelet responses, weighed by the coarsest scale, and mapped back to a similarity.

    Equal images reach 1 up to rounding; two black ones, which have no wavelet energy, infinity.

    >>> ramp = torch.linspace(0, 1, 256, dtype=torch.float64).reshape(1, 1, 16, 16)
    >>> round(haarpsi(ramp / 2, ramp).item(), 4)
    0.6859
    """
    x, y = _halved(x), _halved(y)
    first, second = _coefficients(x[:, :1]), _coefficients(y[:, :1])
    weights = torch.max(first[:, 4:].abs(), second[:, 4:].abs())
    pairs = [(first[:, way:4:2].abs(), second[:, way:4:2].abs()) for way in range(2)]
    if x.shape[1] == len(YIQ):
        pairs.append((_chrominance(x), _chrominance(y)))
        weights = torch.cat([weights, weights.mean(1, keepdim=True)], 1)
    similarity = torch.cat([_similarity(a, b).sum(1, keepdim=True) / 2 for a, b in pairs], 1)
    tiny = torch.finfo(similarity.dtype).eps
    weighted = ((similarity * ALPHA).sigmoid() * weights).sum((1, 2, 3)) + tiny
    score = weighted / (weights.sum((1, 2, 3)) + tiny)
    return ((score / (1 - score)).log() / ALPHA) ** 2


def _halved(images: Tensor) -> Tensor:
    """Return images on the scale [0, 255], colours as YIQ, averaged to half their size; an odd side is padded with zeros."""
    images = images * 255
    if images.shape[1] == len(YIQ):
        images = (images.permute(0, 2, 3, 1) @ images.new_tensor(YIQ).t()).permute(0, 3, 1, 2)
    odd = max(images.shape[2] % 2, images.shape[3] % 2)
    return F.avg_pool2d(F.pad(images, (0, odd, 0, odd)), 2)


def _coefficients(grey: Tensor) -> Tensor:
    """Return ``[n, 6, h, w]``: at each scale the responses ``[n, 1, h, w]`` to a Haar wavelet and to its transpose."""
    responses = []
    for scale in range(1, SCALES + 1):
        side = 2**scale
        wavelet = grey.new_ones(side, side) / side
        wavelet[side // 2 :] = -wavelet[side // 2 :]
        before, after = side // 2 - 1, side // 2
        padded = F.pad(grey, (before, after, before, after))
        responses.append(F.conv2d(padded, torch.stack([wavelet, wavelet.t()])[:, None]))
    return torch.cat(responses, 1)


def _chrominance(yiq: Tensor) -> Tensor:
    """Return the absolute means of I and Q over 2 x 2 pixels, ``[n, 2, h, w]``."""
    return F.avg_pool2d(F.pad(yiq, (0, 1, 0, 1))[:, 1:], 2, stride=1).abs()


def _similarity(a: Tensor, b: Tensor) -> Tensor:
    """Return (2 a b + C) / (a^2 + b^2 + C), the local similarity."""
    return (2.0 * a * b + C) / (a**2 + b**2 + C)
