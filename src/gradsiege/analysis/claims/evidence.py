"""What a study measured of one cell, or of one cell against another: values, clusters, intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradsiege.analysis.bootstrap import mean_interval
from gradsiege.analysis.claims.selection import NotRunError
from gradsiege.analysis.claims.verdicts import Evidence
from gradsiege.analysis.clusters import units
from gradsiege.analysis.equivalence import Equivalence, tost, tost_student
from gradsiege.analysis.interval import Interval, student_interval
from gradsiege.analysis.paired import paired_differences
from gradsiege.analysis.rates import clustered_wilson_interval
from gradsiege.analysis.summary import capped_psnr
from gradsiege.seeds import numpy_generator

Kind = Literal["mean", "rate", "seeds"]


@dataclass(frozen=True)
class Sample:
    """Values of one metric with their sampling units; `kind` decides how an interval is made.

    mean: BCa over scenes (victims where scenes are unknown); rate: Wilson over them; seeds: Student's t, one value per seed. `lost` counts
    images (or pairs) without a value: failed attacks, which a rate counts as misses instead.
    """

    values: NDArray[np.float64]
    clusters: NDArray[np.generic]
    kind: Kind
    lost: int = 0

    @property
    def units(self) -> int:
        """Number of sampling units."""
        return len(np.unique(self.clusters))

    def interval(self, *names: object) -> Interval:
        """The 95 % interval of the mean; `names` seed the bootstrap."""
        if self.kind == "rate":
            return clustered_wilson_interval(self.values, self.clusters)
        if self.kind == "seeds":
            return student_interval(self.values)
        return mean_interval(self.values, self.clusters, generator=numpy_generator(*names))

    def inside(self, low: float, high: float, *names: object, error: float = 0.0) -> bool:
        """Whether the mean is shown to lie between bounds around a value with this standard error, at alpha 0.05."""
        if self.kind == "rate":
            wilson = clustered_wilson_interval(self.values, self.clusters, level=0.9)
            return Equivalence(wilson, low, high).beside(error).shown
        if self.kind == "seeds":
            return tost_student(self.values, low, high).beside(error).shown
        generator = numpy_generator(*names)
        return tost(self.values, low, high, self.clusters, generator=generator, error=error)

    def evidence(self, *names: object, error: float = 0.0) -> Evidence:
        """What a rule looks at; error: standard error of the published value."""
        return Evidence(
            self.interval(*names),
            lambda low, high: self.inside(low, high, *names, error=error),
            error,
        )


def sample(cell: pd.DataFrame, metric: str, table: str) -> Sample:
    """Values of one cell, all its seeds and victims."""
    if metric == "identified":
        hits = _hits(cell).to_numpy(dtype=np.float64)
        return Sample(np.asarray(hits), units(cell), "rate")
    values = cell.loc[cell["status"].eq("complete"), metric].astype("float64").dropna()
    if metric == "psnr":
        values = capped_psnr(values)
    kind = _kind(table)
    measured = cell.loc[values.index]
    clusters = measured["seed"].to_numpy() if kind == "seeds" else units(measured)
    return Sample(np.asarray(values, dtype=np.float64), clusters, kind, len(cell) - len(values))


def difference(treated: pd.DataFrame, reference: pd.DataFrame, metric: str, table: str) -> Sample:
    """Values of treated - reference, paired by image (scores), victim (explanations) or seed (utility)."""
    ours, theirs = (_as_images(side, metric, table) for side in (treated, reference))
    pairs = paired_differences(ours, theirs, metric)
    values = np.asarray(pairs["difference"], dtype=np.float64)
    lost = max(len(ours), len(theirs)) - len(pairs)
    return Sample(values, units(pairs), _kind(table), lost)


def _kind(table: str) -> Kind:
    """How intervals of a table's metrics are made."""
    return "seeds" if table == "utility" else "mean"


def _hits(cell: pd.DataFrame) -> pd.Series[bool]:
    """Return whether each image was identified; a failed attack identifies no image."""
    return cell["status"].eq("complete") & cell["identified"].eq(True)


def _as_images(cell: pd.DataFrame, metric: str, table: str) -> pd.DataFrame:
    """Rows as `paired_differences` wants them."""
    if table == "utility":
        return cell.assign(victim=cell["seed"], image=0)
    if metric == "identified":
        return cell.assign(identified=_hits(cell).astype("float64"), status="complete")
    return cell


def readable(rows: pd.DataFrame, metric: str, absent: Mapping[str, str]) -> None:
    """Refuse rows from which a metric cannot be read, saying why."""
    if metric not in rows:
        raise NotRunError(f"no stage of this version measures {metric}")
    done = rows["status"].eq("complete")
    if not done.any() and metric != "identified":
        raise NotRunError("every attempt failed")
    if done.any() and rows.loc[done, metric].isna().all():
        raise NotRunError(f"{metric} was not computed: {absent.get(metric, 'no value is finite')}")
