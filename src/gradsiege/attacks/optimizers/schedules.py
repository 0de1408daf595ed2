"""Step-size schedules that an attack's paper brings along."""

from __future__ import annotations

import math

WARM_UP = 1 / 20
COOL_DOWN = 3 / 4


def ramps(progress: float) -> float:
    """Return the factor of a phase's step size at `progress` in [0, 1): a linear ramp up times a half-cosine down.

    Up over the first 1/20, full to 1/4, down to zero over the last 3/4: ILO's schedule (Daras et al., ICML 2021), which
    GIFD keeps. The very first step has size zero.

    >>> [round(ramps(progress), 3) for progress in (0, 0.025, 0.05, 0.25, 0.625, 1)]
    [0.0, 0.5, 1.0, 1.0, 0.5, 0.0]
    """
    up = min(1.0, progress / WARM_UP)
    down = min(1.0, (1 - progress) / COOL_DOWN)
    return up * (1 - math.cos(math.pi * down)) / 2
