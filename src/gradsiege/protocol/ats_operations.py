"""The augmentations of ATS on one image ``[c, h, w]`` in [0, 1]: those of AutoAugment as Pillow computes them.

Grey levels are not rounded between operations; those that Pillow defines on 256 levels (equalize, posterize, solarize) round
first. Each function takes its magnitude in the operation's own unit; `apply` translates the ten steps of a policy into it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from gradsiege.images import LUMINANCE
from gradsiege.protocol.ats_policies import MAGNITUDES

TOP = 255
# Pillow's smoothing kernel.
SMOOTH = ((1.0, 1.0, 1.0), (1.0, 5.0, 1.0), (1.0, 1.0, 1.0))
GREY = 128 / TOP


def grey(image: Tensor) -> Tensor:
    """Return the luminance ``[1, h, w]`` of three channels, the mean of any other number."""
    if len(image) != len(LUMINANCE):
        return image.mean(0, keepdim=True)
    return (image * image.new_tensor(LUMINANCE)[:, None, None]).sum(0, keepdim=True)


def blend(degenerate: Tensor, image: Tensor, factor: float) -> Tensor:
    """Return degenerate + factor (image - degenerate), clipped to [0, 1]; all enhancements are of this form.

    degenerate, image: of one shape, or ``[1, h, w]`` and ``[c, h, w]``.
    """
    return (degenerate + factor * (image - degenerate)).clamp(0, 1)


def brightness(image: Tensor, factor: float) -> Tensor:
    """Scale towards black.

    image: ``[c, h, w]`` in [0, 1], as is the result.
    """
    return blend(torch.zeros_like(image), image, factor)


def colour(image: Tensor, factor: float) -> Tensor:
    """Scale towards the grey image; an image of one channel stays as it is.

    image: ``[c, h, w]`` in [0, 1], as is the result.
    """
    return blend(grey(image), image, factor)


def contrast(image: Tensor, factor: float) -> Tensor:
    """Scale towards the mean grey level.

    image: ``[c, h, w]`` in [0, 1], as is the result.
    """
    return blend(grey(image).mean(), image, factor)


def sharpness(image: Tensor, factor: float) -> Tensor:
    """Scale towards the image smoothed inside its border.

    image: ``[c, h, w]`` in [0, 1], as is the result.
    """
    kernel = image.new_tensor(SMOOTH)
    smooth = image.clone()
    smooth[:, 1:-1, 1:-1] = F.conv2d(image[:, None], kernel[None, None] / kernel.sum())[:, 0]
    return blend(smooth, image, factor)


def invert(image: Tensor) -> Tensor:
    """Return the negative.

    image: ``[c, h, w]`` in [0, 1], as is the result.
    """
    return 1 - image


def autocontrast(image: Tensor) -> Tensor:
    """Stretch every channel to 0..1; a constant one stays as it is.

    image: ``[c, h, w]`` in [0, 1], as is the result.
    """
    low, high = image.amin((1, 2), keepdim=True), image.amax((1, 2), keepdim=True)
    spread = high - low
    return torch.where(spread > 0, (image - low) / spread.clamp_min(1e-12), image)


def levels(image: Tensor) -> Tensor:
    """Return the nearest of 256 levels as integers 0..255.

    image: ``[c, h, w]`` in [0, 1].
    """
    return (image * TOP).round().long()


def equalize(image: Tensor) -> Tensor:
    """Equalise every channel's histogram by Pillow's integer rule.

    image: ``[c, h, w]`` in [0, 1], as is the result.
    """
    channels = []
    for channel in levels(image):
        histogram = torch.bincount(channel.flatten(), minlength=TOP + 1)
        last = histogram[histogram > 0][-1]
        step = int(histogram.sum() - last) // TOP
        if step == 0:
            channels.append(channel)
            continue
        below = histogram.cumsum(0) - histogram
        channels.append(((below + step // 2) // step).clamp(max=TOP)[channel])
    equal: Tensor = torch.stack(channels).to(image.dtype) / TOP
    return equal


def posterize(image: Tensor, bits: int) -> Tensor:
    """Keep the highest `bits` of eight bits.

    image: ``[c, h, w]`` in [0, 1], as is the result.
    """
    posterized: Tensor = levels(image) & (0x100 - 2 ** (8 - bits))
    return posterized.to(image.dtype) / TOP


def solarize(image: Tensor, threshold: float) -> Tensor:
    """Invert levels from `threshold` (0 to 256) on.

    image: ``[c, h, w]`` in [0, 1], as is the result.
    """
    return torch.where(levels(image) < threshold, image, 1 - image)


def warp(image: Tensor, matrix: tuple[float, ...], mode: str, fill: float) -> Tensor:
    """Return out(x, y) = image(a x + b y + c, d x + e y + f), and `fill` where the source lies outside the image.

    image: ``[c, h, w]`` in [0, 1], as is the result.

    Coordinates are those of pixel centres; the first pixel's centre is (0.5, 0.5).
    """
    _, height, width = image.shape
    a, b, c, d, e, f = matrix
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    across, down = a * x + b * y + c, d * x + e * y + f
    grid = torch.stack([2 * across / width - 1, 2 * down / height - 1], -1).to(image)
    sampled = F.grid_sample(image[None], grid[None], mode, "border", align_corners=False)[0]
    inside = (across >= 0) & (across < width) & (down >= 0) & (down < height)
    return torch.where(inside, sampled.clamp(0, 1), fill)


def shear_x(image: Tensor, amount: float) -> Tensor:
    """Move row y by `amount` * y pixels; new pixels are black.

    image: ``[c, h, w]`` in [0, 1], as is the result.
    """
    return warp(image, (1, amount, 0, 0, 1, 0), "bicubic", 0.0)


def shear_y(image: Tensor, amount: float) -> Tensor:
    """Move column x by `amount` * x pixels; new pixels are black.

    image: ``[c, h, w]`` in [0, 1], as is the result.
    """
    return warp(image, (1, 0, 0, amount, 1, 0), "bicubic", 0.0)


def translate_x(image: Tensor, share: float) -> Tensor:
    """Move to the left by a share of the width, to the nearest pixel; new pixels are black.

    image: ``[c, h, w]`` in [0, 1], as is the result.
    """
    return warp(image, (1, 0, share * image.shape[2], 0, 1, 0), "nearest", 0.0)


def translate_y(image: Tensor, share: float) -> Tensor:
    """Move up by a share of the height, to the nearest pixel; new pixels are black.

    image: ``[c, h, w]`` in [0, 1], as is the result.
    """
    return warp(image, (1, 0, 0, 0, 1, share * image.shape[1]), "nearest", 0.0)


def rotate(image: Tensor, degrees: float) -> Tensor:
    """Turn counter-clockwise about the centre, to the nearest pixel; new pixels are grey.

    image: ``[c, h, w]`` in [0, 1], as is the result.
    """
    _, height, width = image.shape
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    c = (width - cosine * width + sine * height) / 2
    f = (height - sine * width - cosine * height) / 2
    return warp(image, (cosine, -sine, c, sine, cosine, f), "nearest", GREY)


# Operations without a magnitude, and those whose magnitude has a range over the ten steps.
PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "invert": invert,
    "autocontrast": autocontrast,
    "equalize": equalize,
}
ENHANCEMENTS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "brightness": brightness,
    "colour": colour,
    "contrast": contrast,
    "sharpness": sharpness,
}
MOVES: dict[str, tuple[Callable[[Tensor, float], Tensor], float]] = {
    "shear_x": (shear_x, 0.3),
    "shear_y": (shear_y, 0.3),
    "translate_x": (translate_x, 150 / 331),
    "translate_y": (translate_y, 150 / 331),
}
ENHANCEMENT = 0.5
DEGREES = 30.0


def apply(operation: str, step: int, image: Tensor, sign: int) -> Tensor:
    """Apply an entry of the pool: operation, magnitude step 0 to 9, and the sign +1 or -1 of those that have one.

    image: ``[c, h, w]`` in [0, 1], as is the result.

    Ranges from step 0 to 9: shear 0 to 0.3, translation 0 to 150/331 of the side, rotation 0 to 30 degrees (one way only),
    enhancement factor 1 to 1 +- 0.5, posterize 8 to 4 bits, solarize from level 256 down to 0.
    """
    share = step / (MAGNITUDES - 1)
    if operation in PLAIN:
        return PLAIN[operation](image)
    if operation in ENHANCEMENTS:
        return ENHANCEMENTS[operation](image, 1 + sign * ENHANCEMENT * share)
    if operation in MOVES:
        move, reach = MOVES[operation]
        return move(image, sign * reach * share)
    if operation == "rotate":
        return rotate(image, DEGREES * share)
    if operation == "posterize":
        return posterize(image, round(8 - 4 * share))
    if operation == "solarize":
        return solarize(image, 256 * (1 - share))
    raise ValueError(f"unknown operation {operation!r}")
