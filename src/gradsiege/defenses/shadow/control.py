"""Controls of Shadow: other noise that moves every image exactly as far as Shadow's own does.

If a control protects as well at equal distortion, the part of Shadow that it replaces is not what protects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.defenses.shadow import map as shadow_map
from gradsiege.seeds import torch_generator

# Steps of a fixed point that is exact after one where no pixel is cut off; see `equal_distortion`.
STEPS = 200


@dataclass(frozen=True)
class Maps:
    """What Shadow's pattern P = N - a sign(N) S is made of.

    Attributes:
        sensitivity: N ``[n, c, h, w]``.
        saliency: S ``[n, 1, h, w]``.
        weight: a.
        signed: whether P may turn negative.
    """

    sensitivity: Tensor
    saliency: Tensor
    weight: float
    signed: bool

    def pattern(self, sensitivity: Tensor) -> Tensor:
        """Return P of another map instead of N."""
        return shadow_map.spare(sensitivity, self.saliency, self.weight, self.signed)


def shuffle(maps: Tensor, keys: Sequence[str]) -> Tensor:
    """Return ``[n, c, h, w]`` with the pixels of every image moved to random places, all channels alike.

    The places follow from the image's key, so an image keeps them in every round, as it keeps its memory.
    """
    n, c, h, w = maps.shape
    orders = [torch.randperm(h * w, generator=torch_generator("shuffled map", key)) for key in keys]
    places = torch.stack(orders)[:, None].expand(n, c, h * w)
    return maps.flatten(2).gather(2, places).reshape(maps.shape)


def shape_of(
    control: str,
    maps: Maps,
    deviation: Tensor,
    keys: Sequence[str],
    generator: torch.Generator,
) -> Tensor:
    """Return the noise of a control ``[n, c, h, w]`` in pixels, up to a factor for each image.

    ``gaussian`` is drawn anew for every batch, independently for every pixel and channel. ``shuffled_map`` puts N in
    the wrong places, ``map_only`` leaves the saliency out, ``cam_only`` uses the peak of N instead of N.

    Args:
        deviation: of the channels: the maps belong to normalised images.
        keys: of the images (`shuffle`).
    """
    n = maps.sensitivity
    if control == "gaussian":
        return torch.randn(n.shape, generator=generator)
    patterns = {
        "shuffled_map": lambda: maps.pattern(shuffle(n, keys)),
        "map_only": lambda: n,
        "cam_only": lambda: maps.pattern(n.amax((1, 2, 3), keepdim=True).expand_as(n)),
    }
    found: Tensor = patterns[control]() * deviation[:, None, None]
    return found


def distortion(images: Tensor, added: Tensor, clamped: bool) -> Tensor:
    """Return the root mean square ``[n]`` of what the addition changes, in pixels; `clamped` to [0, 1] first.

    >>> image = torch.tensor([[[[0.5, 0.9]]]])
    >>> distortion(image, torch.full((1, 1, 1, 2), 0.3), clamped=False)
    tensor([0.3000])
    >>> distortion(image, torch.full((1, 1, 1, 2), 0.3), clamped=True)
    tensor([0.2236])
    """
    moved = images + added
    moved = moved.clamp(0, 1) if clamped else moved
    return (moved - images).square().flatten(1).mean(1).sqrt()


def equal_distortion(images: Tensor, added: Tensor, shape: Tensor, clamped: bool) -> Tensor:
    """Return f * shape, with a factor f >= 0 per image such that it distorts the image as much as `added` does.

    With d(f) the distortion, f <- f * d_wanted / d(f) climbs to the solution from below, because d(f) / f falls: a
    factor can only push more pixels to the limit. Where no pixel is cut off the first step is exact. If an image has
    too little room for the shape (all of its noise would have to go into white pixels), it gets what fits.

    >>> image = torch.full((1, 1, 1, 2), 0.5)
    >>> own, other = torch.tensor([[[[0.1, 0.0]]]]), torch.tensor([[[[3.0, 4.0]]]])
    >>> equal_distortion(image, own, other, clamped=True)
    tensor([[[[0.0600, 0.0800]]]])
    """
    x, form = images.double(), shape.double()
    wanted = distortion(x, added.double(), clamped)
    factor = wanted / form.square().flatten(1).mean(1).sqrt()
    for _ in range(STEPS):
        found = distortion(x, factor[:, None, None, None] * form, clamped)
        factor = factor * torch.where(found > 0, wanted / found, 1).clamp(max=2)
    return (factor[:, None, None, None] * form).to(added.dtype)
