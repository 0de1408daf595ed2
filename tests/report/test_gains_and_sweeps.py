"""Paired gains, sweeps beside published values, and stages: on made-up scores with planted answers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from narrow import MOST_COLUMNS, columns
from scipy import stats

from gradsiege.report import sweep_priors
from gradsiege.report.data import StudyData
from gradsiege.report.figures import gifd_stages, sweep_psnr, sweep_ssim
from gradsiege.report.tables import table_gains
from gradsiege.study import ledger

CLAIMS = ledger.load(Path(__file__).parents[2] / "config" / "claims.yaml")
PAIR = {"idea": "the score", "attack": "gi_pip", "against": "inverting_gradients"}


def with_gains(data: StudyData, *gains: dict[str, str], **changes: Any) -> StudyData:
    return dataclasses.replace(data, study={**data.study, "gains": list(gains)}, **changes)


def test_a_gain_is_paired_by_victim_and_has_an_interval(made_up_study: StudyData) -> None:
    table = table_gains.plotted(with_gains(made_up_study, PAIR))
    gain = table.query("dataset == 'photos' and defense == 'none' and training_stage == 'late'")
    scores = made_up_study.scores.query(
        "dataset == 'photos' and defense == 'none' and training_stage == 'late'"
    ).set_index("victim")
    guided, other = (scores.loc[scores["attack"] == PAIR[arm]] for arm in ("attack", "against"))
    for metric in ("psnr", "ssim"):
        difference = guided[metric] - other[metric]
        assert gain[f"{metric}_change"].item() == pytest.approx(difference.mean())
        # Student's interval is the reference of the expanded bootstrap's width.
        low, high = stats.t.interval(0.95, 7, difference.mean(), stats.sem(difference))
        width = gain[f"{metric}_change_high"].item() - gain[f"{metric}_change_low"].item()
        assert width == pytest.approx(high - low, rel=0.35)
    assert gain["victims"].item() == 8
    assert "lpips_change" not in table


def test_gains_in_every_metric_stand_in_a_narrow_table(made_up_study: StudyData) -> None:
    scores = made_up_study.scores.assign(lpips=0.2, lpips_vgg=0.3)
    data = with_gains(made_up_study, PAIR, scores=scores)
    drawn = table_gains.draw(data)
    assert {"lpips_change", "lpips_vgg_change"} <= set(drawn.data)
    assert len(columns(table_gains, data)) <= MOST_COLUMNS
    assert " n = 7 to 8 victims per row." in drawn.caption
    assert drawn.shown is not None
    assert (
        drawn.shown["Δ PSNR [dB]"].str.endswith(" *").tolist()
        == (drawn.data["psnr_holm"] < 0.05).tolist()
    )


def test_failed_images_leave_the_pair_and_are_counted(made_up_study: StudyData) -> None:
    table = table_gains.plotted(with_gains(made_up_study, PAIR))
    tip = table.query("dataset == 'photos' and defense == 'tip'")
    assert (tip["pairs"] == 7).all()
    assert (tip["unpaired"] == 1).all()


def test_a_pair_that_never_met_says_so_and_absent_lpips_gives_its_reason(
    made_up_study: StudyData,
) -> None:
    never = {"idea": "nothing", "attack": "gifd", "against": "gi_pip"}
    absent = [
        {"what": f"metric {name}", "why": f"{name}: trunk weights not found"}
        for name in ("lpips", "lpips_vgg")
    ]
    drawn = table_gains.draw(with_gains(made_up_study, PAIR, never, not_run=absent))
    assert drawn.shown is not None
    last = drawn.shown.iloc[-1]
    assert last["Idea"] == "nothing"
    assert last["Where"] == "not run"
    assert last["Δ PSNR [dB]"] == "–"
    assert drawn.quiet == (len(drawn.data) - 1,)
    assert "LPIPS is not shown: lpips: trunk weights not found." in drawn.caption
    assert "LPIPS (VGG16) is not shown: lpips_vgg: trunk weights not found." in drawn.caption


def test_other_threat_models_are_no_pair(made_up_study: StudyData) -> None:
    scores = made_up_study.scores.copy()
    scores.loc[scores["attack"] == "gi_pip", "threat_model"] = "labels_given"
    table = table_gains.plotted(with_gains(made_up_study, PAIR, scores=scores))
    assert table["pairs"].tolist() == [0]


def swept(data: StudyData) -> StudyData:
    """The study, its attacks renamed to GI-PIP with and without its score, in batches of one and four."""
    names = {"inverting_gradients": "gi_pip-without_score"}
    single = data.scores.replace({"attack": names})
    four = single[single["defense"].eq("none") & single["training_stage"].eq("untrained")]
    four = four.assign(protocol="four", psnr=four["psnr"] - 3, ssim=four["ssim"] / 2)
    study = {**data.study, "federation": {"rounds": 40, "early_round": 2}}
    study["protocols"] = [
        {"id": "fedsgd", "name": "fedsgd", "images": 1},
        {"id": "four", "name": "fedsgd", "images": 4},
    ]
    study["defenses"] = [
        {**item, "parameters": {"sigma": float(item["id"].partition("sigma")[2] or 0)}}
        for item in data.study["defenses"]
    ]
    study["priors"] = [
        {"id": name, "name": "autoencoder", "dataset": dataset, "parameters": {"fraction": part}}
        for name, dataset, part in (
            ("whole", None, 1.0),
            ("tenth", None, 0.1),
            ("far", "phantom", 1.0),
        )
    ]
    study["attacks"] = [
        {"id": "gi_pip", "name": "gi_pip", "prior": "whole", "parameters": {"anomaly_score": 1.0}},
        {"id": "gi_pip-without_score", "name": "gi_pip", "prior": "whole", "parameters": {"anomaly_score": 0.0}},
        {"id": "gi_pip-tenth", "name": "gi_pip", "prior": "tenth", "parameters": {"anomaly_score": 1.0}},
        {"id": "gi_pip-far", "name": "gi_pip", "prior": "far", "parameters": {"anomaly_score": 1.0}},
    ]  # fmt: skip
    more = [
        single[single["attack"] == "gi_pip"].assign(attack=name, psnr=value)
        for name, value in (("gi_pip-tenth", 20.0), ("gi_pip-far", 15.0))
    ]
    scores = pd.concat([single, four, *more]).query("dataset == 'photos'")
    scores = scores.assign(status="complete", psnr=scores["psnr"].fillna(10.0))
    return dataclasses.replace(data, scores=scores, study=study, claims=CLAIMS)


def test_every_axis_has_its_points_and_the_published_ones_of_the_ledger(
    made_up_study: StudyData,
) -> None:
    drawn = sweep_ssim.draw(swept(made_up_study))
    table = drawn.data
    ours = (
        table[table["source"] == "ours"]
        .groupby("axis")["x"]
        .apply(lambda x: sorted(set(x), key=str))
    )
    assert ours["batch"] == [1, 4]
    assert ours["noise"] == [0.0, 0.01, 0.1]
    assert ours["epochs"] == [0, 40]
    assert ours["fraction"] == [0.0, 10.0, 100.0]
    assert ours["prior"] == ["auto-\nencoder", "auto-\nencoder\nof phantom", "nothing"]
    assert "sparsity" not in ours
    theirs = table[table["source"] == "published"].set_index(["axis", "x", "series"])["ssim"]
    # Where our study has no sparsity, the published one is not drawn either.
    assert set(theirs.index.get_level_values("axis")) == {"batch", "noise", "epochs"}
    assert theirs["batch", 16, "without"] == 0.16
    assert theirs["epochs", 40, "with anomaly score"] == 0.47
    assert theirs["noise", 0.0, "without"] == theirs["epochs", 0, "without"] == 0.48
    assert drawn.figure is not None
    assert len([panel for panel in drawn.figure.axes if panel.axison]) == 5
    assert "other data" in drawn.caption


def test_the_psnr_sweep_has_no_published_value_and_says_so(made_up_study: StudyData) -> None:
    drawn = sweep_psnr.draw(swept(made_up_study))
    assert (drawn.data["source"] == "ours").all()
    assert "give no PSNR" in drawn.caption
    far = drawn.data.query("attack == 'gi_pip-far' and axis == 'prior'")
    assert far["psnr"].tolist() == [15.0]


def test_a_study_that_sweeps_nothing_draws_a_reason(empty_study: StudyData) -> None:
    assert "Not drawn" in str(sweep_ssim.draw(empty_study).figure.texts)
    assert "several stages" in gifd_stages.draw(empty_study).caption


def test_stages_are_means_over_victims_and_equal_arms_share_a_curve(
    made_up_study: StudyData,
) -> None:
    scores = made_up_study.scores.copy()
    attacked = scores["kind"] == "attack"
    scores["psnr_by_stage"] = scores["matching_loss_by_stage"] = None
    for index in scores.index[attacked]:
        scores.at[index, "psnr_by_stage"] = np.array(
            [10.0 + scores.at[index, "victim"], 20.0, 30.0]
        )
        scores.at[index, "matching_loss_by_stage"] = np.array([0.3, 0.2, 0.1])
    scores["psnr_last_stage"], scores["psnr_best_stage"] = 30.0, 31.0
    data = dataclasses.replace(made_up_study, scores=scores)
    drawn = gifd_stages.draw(data)
    curve = drawn.data.query(
        "dataset == 'photos' and attack == 'gi_pip' and training_stage == 'late'"
    )
    assert curve["phase"].tolist() == ["z", "h1", "h2"]
    assert curve["psnr"].tolist() == pytest.approx([13.5, 20.0, 30.0])
    assert curve["matching_loss"].tolist() == [0.3, 0.2, 0.1]
    assert drawn.figure is not None
    assert drawn.figure.axes[0].texts[0].get_text() == "Inverting Gradients = GI-PIP"


def test_attacks_that_differ_by_their_prior_alone_are_so_wherever_they_apply() -> None:
    plain: dict[str, Any] = {"id": "a", "name": "gi_pip", "prior": "pca", "only": []}
    elsewhere = {**plain, "id": "b", "prior": "autoencoder", "only": [{"defense": ["none"]}]}
    assert sweep_priors._settings(plain) == sweep_priors._settings(elsewhere)
    assert sweep_priors._settings(plain) != sweep_priors._settings({**elsewhere, "iterations": 2})
