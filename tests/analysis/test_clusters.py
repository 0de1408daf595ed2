"""Scenes as units, and crossed groupings: nesting, coverage, and what a planted dependence does to an interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gradsiege.analysis.clusters import count_scenes, factors, units
from gradsiege.analysis.crossed import crossed_interval, grouped_interval
from gradsiege.analysis.paired import paired_differences
from gradsiege.analysis.summary import summarise, widest_rate


def nested(victims: int, scenes: int) -> pd.DataFrame:
    ids = np.arange(victims)
    return pd.DataFrame({"victim": ids, "scene": ids % scenes, "seed": 0})


def test_victims_of_a_scene_are_one_unit_and_batches_cross() -> None:
    assert len(np.unique(units(nested(32, 10)))) == 10
    assert count_scenes(nested(32, 10)) == 10
    crossed = pd.DataFrame(
        {"victim": np.repeat(np.arange(6), 4), "scene": np.tile(np.arange(4), 6)}
    )
    assert [len(np.unique(ids)) for ids in factors(crossed)] == [4, 6]
    unknown = nested(5, 2).drop(columns="scene")
    assert len(np.unique(units(unknown))) == 5
    assert np.isnan(count_scenes(unknown))


def test_copies_of_a_scene_add_nothing() -> None:
    """Four crops of each of eight photographs that all behave like their photograph: the interval is that of eight."""
    table, rng = nested(32, 8), np.random.default_rng(0)
    of_scene = rng.normal(20, 3, 8)
    values = of_scene[table["scene"]]
    wide = grouped_interval(values, table, generator=np.random.default_rng(1))
    alone = grouped_interval(of_scene, nested(8, 8), generator=np.random.default_rng(1))
    naive = grouped_interval(
        values, table.drop(columns="scene"), generator=np.random.default_rng(1)
    )
    assert (wide.low, wide.high) == pytest.approx((alone.low, alone.high), abs=0.05)
    assert wide.units == 8
    assert wide.high - wide.low > 1.8 * (naive.high - naive.low)
    hits = pd.Series(table["scene"] < 4)
    assert widest_rate(hits, table, 0.95).high - widest_rate(hits, table, 0.95).low > 0.4
    plain = widest_rate(hits, table.drop(columns="scene"), 0.95)
    assert plain.high - plain.low < 0.35


@pytest.mark.parametrize(("scenes", "seeds", "of_seed"), [(16, 3, 0.5), (10, 10, 1.0)])
def test_a_crossed_interval_covers(scenes: int, seeds: int, of_seed: float) -> None:
    """And one that forgets the seeds does not."""
    rng, studies = np.random.default_rng(1), 250
    rows, columns = np.repeat(np.arange(scenes), seeds), np.tile(np.arange(seeds), scenes)
    table = pd.DataFrame({"victim": rows, "seed": columns})
    covered = {"crossed": 0, "rows": 0}
    for _ in range(studies):
        values = rng.normal(0, 1, scenes)[rows] + rng.normal(0, of_seed, seeds)[columns]
        values += rng.normal(0, 0.5, len(rows))
        crossed = crossed_interval(values, rows, columns, generator=rng, resamples=300)
        alone = grouped_interval(values, table.assign(seed=0), generator=rng, resamples=300)
        covered["crossed"] += crossed.low <= 0 <= crossed.high
        covered["rows"] += alone.low <= 0 <= alone.high
    # Four standard errors of 0.95 in 250 studies are 0.055.
    assert covered["crossed"] / studies >= 0.895
    assert covered["rows"] / studies < 0.9


def test_the_summary_and_pairs_know_their_scenes(made_up_scores: pd.DataFrame) -> None:
    plain = summarise(made_up_scores).set_index("attack").loc["inverting_gradients"]
    scenes = made_up_scores.assign(scene=made_up_scores["victim"] // 2)
    clustered = summarise(scenes).set_index("attack").loc["inverting_gradients"]
    assert (clustered["victims"], clustered["scenes"]) == (10, 5)
    assert np.isnan(plain["scenes"])
    assert clustered["psnr"] == plain["psnr"]
    assert clustered["psnr_high"] - clustered["psnr_low"] > plain["psnr_high"] - plain["psnr_low"]
    one, other = (scenes[scenes["attack"] == name] for name in ("gi_pip", "inverting_gradients"))
    pairs = paired_differences(one, other)
    assert pairs["scene"].nunique() == 5
