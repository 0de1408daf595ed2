"""The tidy summary of a score table: one row per cell, threat model and attack.

Rules, the same for every table and figure of the study:

- The scene is the sampling unit (`analysis.clusters`; the victim where scenes are unknown): intervals resample scenes with all
  their victims and images, and seeds beside them where there are several.
- Failed rows stay in `rows` and `failed`. A failed image counts as *not identified*; it has no
  fidelity, so means are over the `psnr_n` images that have a value, and say so by that number.
- PSNR is capped at 100 dB for averages (a perfect copy has infinite PSNR); `psnr_capped` counts
  the images it touched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gradsiege.analysis.bootstrap import Method
from gradsiege.analysis.clusters import count_scenes, factors
from gradsiege.analysis.crossed import grouped_interval
from gradsiege.analysis.interval import Interval
from gradsiege.analysis.rates import clustered_wilson_interval
from gradsiege.seeds import numpy_generator

CELL = ("dataset", "model", "defense", "training_stage", "protocol")
METHOD = ("threat_model", "attack", "kind")
FIDELITY = ("psnr", "ssim", "haarpsi", "lpips", "lpips_vgg")
PSNR_CAP = 100.0
REQUIRED = (*CELL, *METHOD, "victim", "image", "status", "psnr", "identified", "gallery_size")


def check_scores(scores: pd.DataFrame) -> None:
    """Refuse a table that lacks columns, has an unknown status, or a completed row without PSNR."""
    missing = [column for column in REQUIRED if column not in scores.columns]
    if missing:
        raise ValueError(f"the score table lacks the columns {', '.join(missing)}")
    unknown = sorted(set(scores["status"]) - {"complete", "failed"})
    if unknown:
        raise ValueError(f"unknown status in the score table: {', '.join(map(str, unknown))}")
    blank = scores["status"].eq("complete") & scores["psnr"].isna()
    if blank.any():
        raise ValueError(f"{int(blank.sum())} completed rows have no psnr; they should be 'failed'")


def capped_psnr(psnr: pd.Series[float]) -> pd.Series[float]:
    """PSNR [dB] with infinities and values above 100 dB set to 100 dB; NaN stays NaN.

    >>> capped_psnr(pd.Series([27.5, float("inf")])).tolist()
    [27.5, 100.0]
    """
    return psnr.astype("float64").clip(upper=PSNR_CAP)


def summarise(
    scores: pd.DataFrame,
    *,
    by: Sequence[str] = CELL,
    seed: int = 0,
    level: float = 0.95,
    resamples: int = 2000,
    method: Method = "bca",
) -> pd.DataFrame:
    """Summarise scores per `by` + (threat_model, attack, kind), in order of first appearance.

    Columns: rows, victims, scenes (NaN where unknown), failed; for each of psnr [dB], ssim, haarpsi, lpips, lpips_vgg: mean, `_low`, `_high`
    (BCa over scenes, small-sample tails) and `_n`; psnr_capped; identified, identified_low,
    identified_high (Wilson), the same by LPIPS (`identified_lpips`, NaN where no completed row has its rank),
    chance (mean of 1 / gallery_size); iterations, evaluations and seconds (medians
    over completed rows).
    """
    check_scores(scores)
    groups = [*by, *(column for column in METHOD if column not in by)]
    rows = []
    for key, table in scores.groupby(groups, sort=False, dropna=False, observed=True):
        row: dict[str, Any] = dict(zip(groups, key, strict=True))
        row |= _counts(table)
        for metric in FIDELITY:
            generator = numpy_generator(seed, metric, *key)
            row |= _fidelity(table, metric, generator, level, resamples, method)
        row |= _identification(table, level)
        row |= _cost(table)
        rows.append(row)
    if not rows:
        return _empty(groups)
    return pd.DataFrame(rows)


def _counts(table: pd.DataFrame) -> dict[str, float]:
    return {
        "rows": len(table),
        "victims": int(table["victim"].nunique()),
        "scenes": count_scenes(table),
        "failed": int(table["status"].eq("failed").sum()),
    }


def _fidelity(
    table: pd.DataFrame,
    metric: str,
    generator: np.random.Generator,
    level: float,
    resamples: int,
    method: Method,
) -> dict[str, float]:
    """Mean, limits and number of values of one fidelity metric over completed rows."""
    done = table[table["status"].eq("complete")]
    values = done[metric].astype("float64") if metric in done else pd.Series(dtype="float64")
    known = values.notna()
    extra: dict[str, float] = {}
    if metric == "psnr":
        extra["psnr_capped"] = int((values > PSNR_CAP).sum())
        values = capped_psnr(values)
    measured = done[known] if len(values) else done.iloc[:0]
    interval = grouped_interval(
        values[known].to_numpy(),
        measured,
        generator=generator,
        level=level,
        resamples=resamples,
        method=method,
    )
    return {
        metric: interval.estimate,
        f"{metric}_low": interval.low,
        f"{metric}_high": interval.high,
        f"{metric}_n": int(known.sum()),
        **extra,
    }


def _identification(table: pd.DataFrame, level: float) -> dict[str, float]:
    """Rank-1 identification rate; a failed image is not identified."""
    done = table["status"].eq("complete")
    hits = done & table["identified"].eq(True)
    rate = widest_rate(hits, table, level)
    galleries = table.loc[done, "gallery_size"].astype("float64")
    chance = float((1.0 / galleries[galleries > 0]).mean()) if (galleries > 0).any() else math.nan
    return {
        "identified": rate.estimate,
        "identified_low": rate.low,
        "identified_high": rate.high,
        **_perceptual_identification(table, level),
        "chance": chance,
    }


def widest_rate(hits: pd.Series[bool], table: pd.DataFrame, level: float) -> Interval:
    """Return Wilson's interval of a rate over the scenes of a table; where victims cross scenes, the wider of both."""
    rates = [clustered_wilson_interval(hits.to_numpy(), ids, level=level) for ids in factors(table)]
    return max(rates, key=lambda rate: rate.high - rate.low)


def _perceptual_identification(table: pd.DataFrame, level: float) -> dict[str, float]:
    """The rank-1 identification rate by LPIPS; NaN without LPIPS weights."""
    names = [f"identified_lpips{end}" for end in ("", "_low", "_high")]
    done = table["status"].eq("complete")
    if "rank_lpips" not in table or not table.loc[done, "rank_lpips"].notna().any():
        return dict.fromkeys(names, math.nan)
    # Cells scored without the weights have no rank and are left out.
    known = table[~done | table["rank_lpips"].notna()]
    hits = known["status"].eq("complete") & known["rank_lpips"].eq(1)
    rate = widest_rate(hits, known, level)
    return dict(zip(names, (rate.estimate, rate.low, rate.high), strict=True))


def _cost(table: pd.DataFrame) -> dict[str, float]:
    done = table[table["status"].eq("complete")]
    return {
        column: float(done[column].astype("float64").median()) if column in done else math.nan
        for column in ("iterations", "evaluations", "seconds")
    }


def _empty(groups: list[str]) -> pd.DataFrame:
    """Return a summary without rows that still has every column."""
    columns = [*groups, "rows", "victims", "scenes", "failed"]
    for metric in FIDELITY:
        columns += [metric, f"{metric}_low", f"{metric}_high", f"{metric}_n"]
        columns += ["psnr_capped"] if metric == "psnr" else []
    for name in ("identified", "identified_lpips"):
        columns += [name, f"{name}_low", f"{name}_high"]
    columns += ["chance"]
    return pd.DataFrame(columns=[*columns, "iterations", "evaluations", "seconds"])
