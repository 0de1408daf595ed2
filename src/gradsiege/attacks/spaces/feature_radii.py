"""GIFD's published l1 radii for changes of features, and the rule that transfers them to another generator."""

from __future__ import annotations

import math
from typing import Literal

Radii = Literal["biggan", "stylegan2"]

# By the side of a feature: its published l1 radii, one for each optimised feature of that side, and its size.
PUBLISHED_RADII: dict[str, dict[int, tuple[tuple[int, ...], int]]] = {
    "biggan": {
        4: ((2000,), 4 * 4 * 2048),
        8: ((2500, 3000), 8 * 8 * 2048),
        16: ((3500, 4000), 16 * 16 * 1024),
        32: ((4500, 5000), 32 * 32 * 1024),
        64: ((5500, 6000), 64 * 64 * 512),
    },
    "stylegan2": {
        4: ((2000,), 4 * 4 * 512),
        8: ((3000,), 8 * 8 * 512),
        16: ((4000,), 16 * 16 * 512),
        32: ((5000,), 32 * 32 * 512),
    },
}


def ball_radius(shape: tuple[int, ...], radii: Radii) -> float:
    """Return the l1 radius for a feature (channels, side, side) of a generator without published radii.

    The rule keeps r / dim(h), the mean change that a coordinate may have, of the published feature of the same side, or of the
    side nearest by ratio; where two features of one side have radii, it takes the mean of both.

    The rule holds a small generator tighter than the papers' own: theirs have up to 43 (StyleGAN2) and 171 (BigGAN)
    coordinates of a feature for each value of the attacked image, so that few of them need to move, ours at width 16
    at most 5. It also ignores the units of a feature.

    ====  ============================  =============
    side  BigGAN (256 px)               StyleGAN2
    ====  ============================  =============
    4     2000: 0.0610                  2000: 0.2441
    8     2500: 0.0191, 3000: 0.0229    3000: 0.0916
    16    3500: 0.0134, 4000: 0.0153    4000: 0.0305
    32    4500: 0.0043, 5000: 0.0048    5000: 0.0095
    64    5500: 0.0026, 6000: 0.0029    (none)
    ====  ============================  =============

    >>> round(ball_radius((2048, 4, 4), "biggan"), 6), round(ball_radius((512, 32, 32), "stylegan2"), 6)
    (2000.0, 5000.0)
    >>> round(ball_radius((64, 8, 8), "biggan"), 2), round(ball_radius((64, 7, 7), "biggan"), 2)
    (85.94, 65.8)
    """
    table = PUBLISHED_RADII[radii]
    side = shape[-1]
    published, size = table[min(table, key=lambda known: abs(math.log(known / side)))]
    return sum(published) / len(published) / size * math.prod(shape)
