"""Controls of Shadow: other noise that distorts every image exactly as much as Shadow's own noise.

If a control protects as well at equal distortion, the part of Shadow that it replaces does not protect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.arithmetic import square_root
from gradsiege.defenses.shadow import map as shadow_map
from gradsiege.seeds import torch_generator

# Steps of the fixed-point iteration in `equal_distortion`, which is exact after one step if no pixel is clipped.
STEPS = 200


@dataclass(frozen=True)
class Maps:
    """The parts of Shadow's pattern P = N - a sign(N) S.

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
        """Return P with another sensitivity map ``[n, c, h, w]`` instead of N."""
        return shadow_map.spare(sensitivity, self.saliency, self.weight, self.signed)


def shuffle(maps: Tensor, keys: Sequence[str]) -> Tensor:
    """Return ``[n, c, h, w]`` with the pixels of every image moved to random places, all channels alike.

    The permutation follows from the image's key, so an image has the same one in every round.
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
        deviation: deviation of the channels, ``[c]``, since the maps belong to normalised images.
        keys: keys of the images (`shuffle`).
    """
    n = maps.sensitivity
    if control == "gaussian":
        return torch.randn(n.shape, generator=generator)
    patterns = {
        "shuffled_map": lambda: maps.pattern(shuffle(n, keys)),
        "map_only": lambda: n,
        "cam_only": lambda: maps.pattern(n.amax((1, 2, 3), keepdim=True).expand_as(n)),
    }
    noise: Tensor = patterns[control]() * deviation[:, None, None]
    return noise


def distortion(images: Tensor, added: Tensor, clamped: bool) -> Tensor:
    """Return the root mean square ``[n]`` of the change by `added`, in pixels; if `clamped`, the sum is clipped to [0, 1] first.

    >>> image = torch.tensor([[[[0.5, 0.9]]]])
    >>> distortion(image, torch.full((1, 1, 1, 2), 0.3), clamped=False)
    tensor([0.3000])
    >>> distortion(image, torch.full((1, 1, 1, 2), 0.3), clamped=True)
    tensor([0.2236])
    """
    moved = images + added
    moved = moved.clamp(0, 1) if clamped else moved
    return square_root((moved - images).square().flatten(1).mean(1))


def equal_distortion(images: Tensor, added: Tensor, shape: Tensor, clamped: bool) -> Tensor:
    """Return f * shape, with a factor f >= 0 per image such that it distorts the image as much as `added` does.

    With d(f) the distortion, f <- f * d_wanted / d(f) converges to the solution from below, since d(f) / f falls: a larger
    factor only clips more pixels. If no pixel is clipped the first step is exact. An image that cannot be distorted
    as much by this shape (all of its noise falls on white pixels) gets the largest possible distortion.

    >>> image = torch.full((1, 1, 1, 2), 0.5)
    >>> own, other = torch.tensor([[[[0.1, 0.0]]]]), torch.tensor([[[[3.0, 4.0]]]])
    >>> equal_distortion(image, own, other, clamped=True)
    tensor([[[[0.0600, 0.0800]]]])
    """
    x, form = images.double(), shape.double()
    wanted = distortion(x, added.double(), clamped)
    factor = wanted / square_root(form.square().flatten(1).mean(1))
    for _ in range(STEPS):
        reached = distortion(x, factor[:, None, None, None] * form, clamped)
        factor = factor * torch.where(reached > 0, wanted / reached, 1).clamp(max=2)
    return (factor[:, None, None, None] * form).to(added.dtype)
