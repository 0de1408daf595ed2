"""The method of an attack without its counter, by which an informed attack finds its like on no defense."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

# A time budget may cut a few iterations off an informed attack. In the kept study `budget` three times the iterations bring an attack
# without a defense at most 10.6 dB, so that a tenth fewer cost about 1 dB at most.
LEAST_SHARE = 0.9


@dataclass(frozen=True)
class Recipe:
    """A method without its counter.

    Attributes:
        settings: its name and settings but for iterations and priors; equal texts are the same method.
        priors: names of the priors that it draws on.
    """

    settings: str = ""
    priors: frozenset[str] = frozenset()

    def covers(self, other: Recipe) -> bool:
        """Return whether this is the other method, with its priors and perhaps more.

        >>> Recipe("mode", frozenset({"images", "gaussian"})).covers(Recipe("mode", frozenset({"images"})))
        True
        """
        return self.settings == other.settings and self.priors >= other.priors


def spends(attack: pd.Series, other: pd.Series) -> bool:
    """Return whether an attack has about the iterations of the other, at least `LEAST_SHARE` of them; unknown numbers count as equal.

    >>> spends(pd.Series({"iterations": 280.0}), pd.Series({"iterations": 300.0}))
    True
    >>> spends(pd.Series({"iterations": 60.0}), pd.Series({"iterations": 300.0}))
    False
    """
    own, its = (row.get("iterations", float("nan")) for row in (attack, other))
    return bool(not own < LEAST_SHARE * its)
