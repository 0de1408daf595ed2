"""Summary, comparison and worst case on made-up scores: counted failures, capped PSNR, pairs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gradsiege.analysis.paired import compare_with_baseline, paired_differences
from gradsiege.analysis.significance import holm
from gradsiege.analysis.summary import CELL, METHOD, summarise
from gradsiege.analysis.worst_case import worst_case


def _row(table: pd.DataFrame, attack: str) -> pd.Series:
    return table.set_index("attack").loc[attack]


def test_summary_counts_failures_and_caps_infinity(made_up_scores: pd.DataFrame) -> None:
    gi_pip = _row(summarise(made_up_scores), "gi_pip")
    assert (gi_pip["rows"], gi_pip["victims"], gi_pip["failed"]) == (20, 10, 1)
    assert (gi_pip["psnr_n"], gi_pip["psnr_capped"]) == (19, 1)
    done = made_up_scores.query("attack == 'gi_pip' and status == 'complete'")["psnr"]
    assert gi_pip["psnr"] == pytest.approx(done.replace(np.inf, 100.0).mean())
    assert gi_pip["psnr_low"] < gi_pip["psnr"] < gi_pip["psnr_high"]
    assert gi_pip["identified"] == pytest.approx(19 / 20)  # the failed image is not identified
    assert gi_pip["chance"] == pytest.approx(1 / 50)


def test_summary_rows_do_not_depend_on_their_neighbours(made_up_scores: pd.DataFrame) -> None:
    whole = summarise(made_up_scores)
    alone = summarise(made_up_scores[made_up_scores["attack"] == "gi_pip"])
    pd.testing.assert_series_equal(_row(whole, "gi_pip"), _row(alone, "gi_pip"))


def test_an_attack_that_always_failed_stays(made_up_scores: pd.DataFrame) -> None:
    dead = made_up_scores["attack"] == "gi_pip"
    made_up_scores.loc[dead, "status"] = "failed"
    gi_pip = _row(summarise(made_up_scores), "gi_pip")
    assert gi_pip["failed"] == gi_pip["rows"] == 20
    assert np.isnan(gi_pip["psnr"])
    assert gi_pip["identified"] == 0.0
    assert gi_pip["psnr_n"] == 0


def test_absent_metric_is_absent_not_zero(made_up_scores: pd.DataFrame) -> None:
    table = summarise(made_up_scores.drop(columns="haarpsi"))
    assert table["haarpsi"].isna().all()
    assert (table["haarpsi_n"] == 0).all()


def test_perceptual_identification_counts_what_was_ranked(made_up_scores: pd.DataFrame) -> None:
    table = summarise(made_up_scores)
    assert table["identified_lpips"].isna().all()
    ranked = made_up_scores.assign(rank_lpips=2.0)
    own = ranked["attack"] == "gi_pip"
    ranked.loc[own & (ranked["victim"] < 4), "rank_lpips"] = 1.0
    gi_pip = _row(summarise(ranked), "gi_pip")
    done = ranked[own & ranked["status"].eq("complete")]
    assert gi_pip["identified_lpips"] == pytest.approx((done["victim"] < 4).sum() / 20)
    # Rows of cells that were scored before the weights were there do not count; failures do.
    ranked.loc[own & (ranked["victim"] >= 8) & ranked["status"].eq("complete"), "rank_lpips"] = (
        np.nan
    )
    again = _row(summarise(ranked), "gi_pip")
    known = ranked[own & (ranked["rank_lpips"].notna() | ranked["status"].eq("failed"))]
    assert again["identified_lpips"] == pytest.approx((done["victim"] < 4).sum() / len(known))
    assert (
        again["identified_lpips_low"] < again["identified_lpips"] < again["identified_lpips_high"]
    )


def test_empty_summary_has_every_column(made_up_scores: pd.DataFrame) -> None:
    empty = summarise(made_up_scores.iloc[:0])
    assert list(empty.columns) == list(summarise(made_up_scores).columns)
    assert empty.empty


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="victim"), "lacks the columns victim"),
        (lambda t: t.assign(status="ok"), "unknown status"),
        (lambda t: t.assign(psnr=np.nan), "should be 'failed'"),
    ],
)
def test_bad_tables_are_refused(made_up_scores: pd.DataFrame, change, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        summarise(change(made_up_scores))


def test_comparison_is_paired_and_counts_what_it_lost(made_up_scores: pd.DataFrame) -> None:
    table = compare_with_baseline(made_up_scores, "inverting_gradients")
    assert list(table["attack"]) == ["gi_pip"]
    row = table.iloc[0]
    assert (row["pairs"], row["victims"], row["unpaired"]) == (19, 10, 1)
    ours = paired_differences(
        made_up_scores.query("attack == 'gi_pip'"),
        made_up_scores.query("attack == 'inverting_gradients'"),
    )
    assert row["difference"] == pytest.approx(ours["difference"].mean())
    assert row["difference_low"] <= row["difference"] <= row["difference_high"]
    assert row["probability_of_improvement"] == 1.0
    assert row["rank_biserial"] == 1.0
    assert row["permutation_p"] == pytest.approx(2 / 1024)


def test_holm_spans_the_whole_table(made_up_scores: pd.DataFrame) -> None:
    other = made_up_scores.assign(defense="tip")
    table = compare_with_baseline(
        pd.concat([made_up_scores, other]), "inverting_gradients", kinds=("attack", "control")
    )
    assert len(table) == 4
    assert table["wilcoxon_holm"].to_numpy() == pytest.approx(holm(table["wilcoxon_p"]))
    assert (table["permutation_holm"] >= table["permutation_p"]).all()


def test_baseline_prefers_the_same_threat_model(made_up_scores: pd.DataFrame) -> None:
    blind = made_up_scores.query("attack == 'inverting_gradients'").assign(threat_model="blind")
    both = pd.concat([blind, made_up_scores])
    table = compare_with_baseline(both, "inverting_gradients")
    assert table["baseline_threat_model"].tolist() == ["informed"]
    unmatched = made_up_scores.query("attack == 'gi_pip'").assign(threat_model="prior")
    table = compare_with_baseline(pd.concat([blind, unmatched]), "inverting_gradients")
    assert table["baseline_threat_model"].tolist() == ["blind"]


def test_comparison_without_baseline_is_empty(made_up_scores: pd.DataFrame) -> None:
    assert compare_with_baseline(made_up_scores, "gifd").empty


def test_duplicate_rows_are_refused(made_up_scores: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="several rows"):
        compare_with_baseline(pd.concat([made_up_scores] * 2), "inverting_gradients")


def test_worst_case_takes_the_strongest_attack(made_up_scores: pd.DataFrame) -> None:
    weaker = made_up_scores.query("attack != 'gi_pip'").assign(training_stage="late")
    weaker["psnr"] = weaker["psnr"] - 5
    summary = summarise(pd.concat([weaker, made_up_scores]))
    table = worst_case(summary)
    assert len(table) == 1
    row = table.iloc[0]
    assert (row["attack"], row["training_stage"], row["attackers"]) == ("gi_pip", "untrained", 3)
    controls = worst_case(summary, kind="control")
    assert controls.iloc[0]["attack"] == "control_random"
    assert set(CELL) | set(METHOD) <= set(table.columns)


def test_worst_case_keeps_a_defense_whose_attacks_all_failed(made_up_scores: pd.DataFrame) -> None:
    dead = made_up_scores.assign(defense="tip", status="failed", psnr=np.nan)
    table = worst_case(summarise(pd.concat([made_up_scores, dead]))).set_index("defense")
    assert np.isnan(table.loc["tip", "psnr"])
    assert table.loc["tip", "attackers_without_value"] == 2
