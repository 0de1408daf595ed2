"""Faithfulness of a saliency map to its classifier: deletion and insertion curves (Petsiuk et al., BMVC 2018, section 3.4).

Pixels are replaced in the order of the map, most salient first, and the probability of the class is recorded.
Deletion replaces pixels of the image by a constant: the faster the probability falls, the better the map, so a small
area under the curve is good. Insertion replaces pixels of a blurred copy by those of the image: a large area is good.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BLUR_WINDOW, BLUR_SIGMA = 11, 5.0
"""Side and deviation, in pixels, of the Gaussian that the authors blur images with."""


def replacement_curve(
    probability: Callable[[Tensor], Tensor],
    start: Tensor,
    finish: Tensor,
    saliency: Tensor,
    steps: int,
) -> Tensor:
    """Return the probabilities while `start` turns into `finish`, most salient pixels first, ``[steps + 1]``.

    Args:
        probability: maps images ``[n, c, h, w]`` to the probability of the explained class ``[n]``.
        start, finish: ``[c, h, w]``; the image and a constant (deletion), a blur and the image (insertion).
        saliency: ``[h, w]``; equal values are replaced row by row.
        steps: number of steps; each replaces an equal share of the pixels.

    >>> start, finish = torch.ones(1, 1, 4), torch.zeros(1, 1, 4)
    >>> brightness = lambda images: images.mean((1, 2, 3))
    >>> replacement_curve(brightness, start, finish, torch.tensor([[0.1, 0.4, 0.3, 0.2]]), 2).tolist()
    [1.0, 0.5, 0.0]
    """
    order = saliency.flatten().argsort(descending=True, stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    replaced = torch.linspace(0, len(order), steps + 1, dtype=torch.float64).round()
    masks = place.view(1, 1, *saliency.shape) < replaced[:, None, None, None]
    return probability(torch.where(masks, finish, start))


def area_under(curves: Tensor) -> Tensor:
    """Return the area under curves ``[..., steps + 1]`` over the share of replaced pixels, trapezoids, ``[...]``.

    >>> area_under(torch.tensor([1.0, 0.5, 0.0])).item()
    0.5
    """
    return torch.trapezoid(curves, dx=1 / (curves.shape[-1] - 1))


def blurred(image: Tensor) -> Tensor:
    """Return a strongly blurred copy of the image ``[c, h, w]``; borders are mirrored. The sides must exceed 5 pixels."""
    from torchvision.transforms.functional import gaussian_blur

    copy: Tensor = gaussian_blur(image, [BLUR_WINDOW, BLUR_WINDOW], [BLUR_SIGMA, BLUR_SIGMA])
    return copy
