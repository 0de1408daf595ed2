"""A gallery of candidates: images of which some are the victims' own, in an order that says nothing about which.

The order is a function of the set of images alone: they are sorted by a hash of their pixels. A shuffle hides the victims from
an attacker who does not know its seed; this order hides them from everybody.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from gradsiege.errors import ModelError
from gradsiege.images import to_bytes
from gradsiege.ranges import shown

if TYPE_CHECKING:
    from torch import Tensor

# Test images beside the victims' own in the gallery of a study.
DISTRACTORS = 500


def gallery_of(victims: Tensor, others: Any) -> Tensor:
    """Return the victims' images, then the first `DISTRACTORS` of the others, ``[g, c, h, w]`` in [0, 1].

    Args:
        victims: ``[victims, images, c, h, w]`` in [0, 1].
        others: images ``[n, c, h, w]`` in [0, 1], a tensor or stored ones.

    >>> import torch
    >>> gallery_of(torch.zeros(2, 3, 1, 4, 4), torch.ones(5, 1, 4, 4)).shape
    torch.Size([11, 1, 4, 4])
    """
    import torch

    return torch.cat([victims.flatten(0, 1), others[:DISTRACTORS]])


def order_of(images: Tensor) -> Tensor:
    """Return the places ``[n]`` of the images in the order of their hashes, int64.

    The hash is that of an image's bytes, so that storing images as bytes leaves the order as it is; images of equal bytes are
    told apart by their exact pixels.

    >>> import torch
    >>> images = torch.tensor([0.0, 0.4, 1.0]).reshape(3, 1, 1, 1)
    >>> [images[order_of(images)].flatten(), images.flip(0)[order_of(images.flip(0))].flatten()]
    [tensor([0.4000, 0.0000, 1.0000]), tensor([0.4000, 0.0000, 1.0000])]
    """
    import torch

    pixels = images.detach().cpu().contiguous()
    keys = [
        (hashlib.sha256(stored.numpy().tobytes()).digest(), exact.numpy().tobytes())
        for stored, exact in zip(to_bytes(pixels), pixels, strict=True)
    ]
    return torch.tensor(sorted(range(len(keys)), key=keys.__getitem__), dtype=torch.int64)


def without_order(images: Tensor, image_shape: tuple[int, int, int]) -> Tensor:
    """Return a gallery in the order of `order_of`, ``[n, c, h, w]``.

    Raises:
        ModelError: fewer than two images, or images of another shape, type or range.
    """
    import torch

    if not isinstance(images, torch.Tensor):
        raise ModelError(
            f"candidates is {shown(images)}; give a tensor of images [n, {', '.join(map(str, image_shape))}] in [0, 1]"
        )
    if images.dim() != 4 or tuple(images.shape[1:]) != tuple(image_shape):
        raise ModelError(
            f"the candidates have shape {list(images.shape)}; give images [n, {', '.join(map(str, image_shape))}], the shape "
            "of the private ones"
        )
    if len(images) < 2:
        raise ModelError("a gallery of one candidate leaves no choice: give at least two images")
    if not images.is_floating_point() or not bool(((images >= 0) & (images <= 1)).all()):
        raise ModelError("the candidates hold values outside [0, 1]; give floats in [0, 1]")
    return images[order_of(images).to(images.device)]
