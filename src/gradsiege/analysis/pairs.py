"""Comparisons of attackers on the victims that both met: intervals, and one-sided tests by scene."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from gradsiege.analysis.clusters import factors, units
from gradsiege.analysis.crossed import grouped_interval
from gradsiege.analysis.equivalence import check_bounds
from gradsiege.analysis.interval import Interval, student_interval, unknown
from gradsiege.analysis.paired import paired_differences
from gradsiege.analysis.rates import exact_limits
from gradsiege.analysis.significance import cluster_mean_differences
from gradsiege.analysis.worst_case import SETTING
from gradsiege.seeds import numpy_generator

PLACE = ["training_stage", "protocol"]
METHOD = ["threat_model", "attack"]
CELL = [*SETTING, *PLACE]
IDS = [*CELL, *METHOD]
Key = tuple[str, ...]


def shown_above(
    pairs: pd.DataFrame, bound: float, *, generator: np.random.Generator, alpha: float = 0.05
) -> bool:
    """Return whether the mean difference is shown to exceed a bound: by t over scenes and by bootstrap, each at `alpha`.

    pairs: as of `paired.paired_differences`. Fewer than two scenes show nothing.

    >>> pairs = pd.DataFrame({"victim": range(5), "seed": 0, "difference": [0.4, 0.5, 0.6, 0.5, 0.4]})
    >>> shown_above(pairs, 0.2, generator=np.random.default_rng(0))
    True
    """
    check_bounds(bound, math.inf, alpha)
    values = pairs["difference"].to_numpy(dtype=np.float64)
    level = 1 - 2 * alpha
    student = student_interval(cluster_mean_differences(values, units(pairs)), level=level)
    # A limit that is not a number compares as False.
    if not student.low > bound:
        return False
    return grouped_interval(values, pairs, generator=generator, level=level).low > bound


class Pairs:
    """Mean differences of PSNR [dB] between rows of the summary, and their identification; each pair is made once."""

    def __init__(self, scores: pd.DataFrame) -> None:
        """Take the score rows that the summary was made of."""
        self._rows = dict(list(scores.groupby(IDS, sort=False)))
        self._classes = (
            scores.groupby("dataset")["label"].nunique().to_dict() if "label" in scores else {}
        )
        self._differences: dict[tuple[Key, Key], pd.DataFrame] = {}
        self._intervals: dict[tuple[Key, Key], Interval] = {}

    def __call__(self, treated: pd.Series, reference: pd.Series | None) -> Interval:
        """Return the 95 % interval of treated - reference; unknown without a reference."""
        if reference is None:
            return unknown(math.nan, 0.95, 0, "bca")
        names = _key(treated), _key(reference)
        if names not in self._intervals:
            pairs = self.differences(treated, reference)
            self._intervals[names] = grouped_interval(
                pairs["difference"].to_numpy(),
                pairs,
                generator=numpy_generator(0, "headline", *names[0], *names[1]),
            )
        return self._intervals[names]

    def differences(self, treated: pd.Series, reference: pd.Series) -> pd.DataFrame:
        """Return the differences treated - reference by image."""
        names = _key(treated), _key(reference)
        if names not in self._differences:
            sides = (self._rows[names[0]], self._rows[names[1]])
            self._differences[names] = paired_differences(*sides)
        return self._differences[names]

    def above(
        self, treated: pd.Series, reference: pd.Series | None, bound: float, alpha: float
    ) -> bool:
        """Return whether treated - reference is shown to exceed a bound [dB]; False without a reference."""
        if reference is None:
            return False
        names = (*_key(treated), *_key(reference))
        generator = numpy_generator(0, "verdict", *names)
        pairs = self.differences(treated, reference)
        return shown_above(pairs, bound, generator=generator, alpha=alpha)

    def below(
        self, treated: pd.Series, reference: pd.Series | None, bound: float, alpha: float
    ) -> bool:
        """Return whether treated - reference is shown to lie below a bound [dB]; False without a reference."""
        return reference is not None and self.above(reference, treated, -bound, alpha)

    def guess(self, row: pd.Series) -> float:
        """Return the identification rate of a guess among the gallery's images of the right class, if classes are alike in size.

        The label alone gives as much; the classes are those of the victims.
        """
        return min(1.0, float(row["chance"]) * max(1, self._classes.get(row["dataset"], 1)))

    def identification(self, row: pd.Series, alpha: float) -> tuple[float, float]:
        """Return one-sided exact limits of the share of identified victims; a failed image is not identified."""
        rows = self._rows[_key(row)]
        hits = (rows["status"].eq("complete") & rows["identified"].eq(True)).to_numpy()
        limits = [exact_limits(hits, ids, alpha=alpha) for ids in factors(rows)]
        return min(low for low, _ in limits), max(high for _, high in limits)


def _key(row: pd.Series) -> Key:
    return tuple(str(row[name]) for name in IDS)
