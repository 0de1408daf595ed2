"""Paired comparisons of attacks with a named baseline on the same victims, Holm-adjusted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gradsiege.analysis.clusters import units
from gradsiege.analysis.crossed import grouped_interval
from gradsiege.analysis.effect import cohen_d_z, probability_of_improvement, rank_biserial
from gradsiege.analysis.significance import (
    cluster_mean_differences,
    holm,
    sign_flip_permutation,
    wilcoxon_signed_rank,
)
from gradsiege.analysis.summary import CELL, capped_psnr, check_scores
from gradsiege.seeds import numpy_generator

UNIT = ["seed", "victim", "image"]


def compare_with_baseline(
    scores: pd.DataFrame,
    baseline: str,
    *,
    metric: str = "psnr",
    by: Sequence[str] = CELL,
    kinds: Sequence[str] = ("attack",),
    seed: int = 0,
    level: float = 0.95,
    resamples: int = 2000,
) -> pd.DataFrame:
    """Compare every attack with `baseline`, image by image, within each cell.

    Pairs match on (seed, victim, image); an image that failed on either side leaves the pair
    and is counted in `unpaired`. Tests and effect sizes take one mean difference per scene (`analysis.clusters`).
    The baseline is taken under the same threat model where it ran under it, else under the first
    one of the cell (`baseline_threat_model` says which). Holm's family is the whole table.

    Columns: by, threat_model, attack, baseline, baseline_threat_model, pairs, victims, unpaired,
    difference (+ _low, _high, BCa), d_z, rank_biserial, probability_of_improvement,
    wilcoxon_p, wilcoxon_holm, permutation_p, permutation_holm.
    """
    check_scores(scores)
    rows = []
    for key, treated, reference in _matched(scores, baseline, by, kinds):
        generator = numpy_generator(seed, metric, baseline, *key.values())
        differences = paired_differences(treated, reference, metric)
        rows.append(
            {
                **key,
                "baseline": baseline,
                "baseline_threat_model": reference["threat_model"].iloc[0],
                **_judge(differences, generator, level, resamples),
                "unpaired": _units(treated, reference) - len(differences),
            }
        )
    table = pd.DataFrame(rows)
    for test in ("wilcoxon", "permutation"):
        if len(table):
            table[f"{test}_holm"] = holm(table[f"{test}_p"].to_numpy())
    return table


def paired_differences(
    treated: pd.DataFrame, reference: pd.DataFrame, metric: str = "psnr"
) -> pd.DataFrame:
    """Differences treated - reference on the images that both have: columns of `UNIT`, scene if the tables have it, difference."""
    sides = []
    ids = [*UNIT, "scene"] if "scene" in treated and "scene" in reference else UNIT
    for table in (treated, reference):
        done = table.loc[table["status"].eq("complete"), [*ids, metric]].dropna(subset=[metric])
        if done.duplicated(UNIT).any():
            raise ValueError(f"several rows for one (seed, victim, image) in {metric} pairs")
        values = done[metric].astype("float64")
        done[metric] = capped_psnr(values) if metric == "psnr" else values
        sides.append(done)
    both = sides[0].merge(sides[1], on=ids, suffixes=("", "_baseline")).sort_values(UNIT)
    return both[ids].assign(difference=both[metric] - both[f"{metric}_baseline"])


def _matched(
    scores: pd.DataFrame, baseline: str, by: Sequence[str], kinds: Sequence[str]
) -> Iterator[tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]]:
    """Every attack of every cell beside the baseline of that cell."""
    for cell, table in scores.groupby(list(by), sort=False, dropna=False, observed=True):
        ran = table[table["attack"] == baseline].groupby("threat_model", sort=False)
        references: dict[Any, pd.DataFrame] = dict(list(ran))
        if not references:
            continue
        others = table[table["kind"].isin(kinds) & (table["attack"] != baseline)]
        for (threat, attack), treated in others.groupby(["threat_model", "attack"], sort=False):
            key = {**dict(zip(by, cell, strict=True)), "threat_model": threat, "attack": attack}
            yield key, treated, references.get(threat, next(iter(references.values())))


def _units(treated: pd.DataFrame, reference: pd.DataFrame) -> int:
    """Images that at least one side attempted."""
    return len(pd.concat([treated[UNIT], reference[UNIT]]).drop_duplicates())


def _judge(
    differences: pd.DataFrame, generator: np.random.Generator, level: float, resamples: int
) -> dict[str, float]:
    values = differences["difference"].to_numpy()
    scenes = units(differences)
    means = cluster_mean_differences(values, scenes)
    interval = grouped_interval(
        values, differences, generator=generator, level=level, resamples=resamples
    )
    return {
        "pairs": len(values),
        "victims": int(differences["victim"].nunique()),
        "difference": interval.estimate,
        "difference_low": interval.low,
        "difference_high": interval.high,
        "d_z": cohen_d_z(means) if len(means) else math.nan,
        "rank_biserial": rank_biserial(means),
        "probability_of_improvement": probability_of_improvement(means),
        "wilcoxon_p": wilcoxon_signed_rank(values, scenes),
        "permutation_p": sign_flip_permutation(values, scenes, generator=generator),
    }
