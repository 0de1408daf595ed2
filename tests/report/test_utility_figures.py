"""Utility over seeds: the intervals of the table and of the curves, on made-up accuracies."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gradsiege.report import placing
from gradsiege.report.data import StudyData
from gradsiege.report.derived import utility_by_setting
from gradsiege.report.figures import privacy_utility, privacy_utility_curves, utility_curve
from gradsiege.report.tables import table_utility

PLACE = "dataset == 'photos' and defense == 'tip'"


def test_change_is_paired_by_seed(made_up_study: StudyData) -> None:
    table = utility_by_setting(made_up_study)
    assert len(table) == 8
    tip = table.query(PLACE).iloc[0]
    last = made_up_study.utility.query("dataset == 'photos' and round == 6")
    defended = last.query("defense == 'tip'").sort_values("seed")["accuracy"].to_numpy()
    bare = last.query("defense == 'none'").sort_values("seed")["accuracy"].to_numpy()
    wanted = stats.ttest_rel(defended, bare).confidence_interval()
    assert tip["change"] == pytest.approx((defended - bare).mean())
    assert (tip["change_low"], tip["change_high"]) == pytest.approx(tuple(wanted))
    assert (tip["accuracy_low"], tip["accuracy_high"]) == pytest.approx(
        stats.t.interval(0.95, 2, defended.mean(), stats.sem(defended))
    )
    assert tip["seeds"] == 3
    assert tip["seconds"] == pytest.approx(2.6)
    assert tip["peak_memory"] == 706


def test_a_failed_seed_is_counted_and_left_out(made_up_study: StudyData) -> None:
    utility = made_up_study.utility.copy()
    lost = (utility["defense"] == "tip") & (utility["seed"] == 1) & (utility["round"] > 3)
    utility.loc[lost, "status"] = "failed"
    utility.loc[lost, ["accuracy", "macro_f1", "micro_f1"]] = np.nan
    table = utility_by_setting(dataclasses.replace(made_up_study, utility=utility))
    tip = table.query(PLACE).iloc[0]
    assert (tip["seeds"], tip["failed_seeds"]) == (2, 1)
    kept = made_up_study.utility.query(f"{PLACE} and round == 6 and seed != 1")["accuracy"]
    assert tip["accuracy"] == pytest.approx(kept.mean())


def test_one_seed_has_no_interval_and_says_so(made_up_study: StudyData) -> None:
    single = made_up_study.utility.query("seed == 0")
    drawn = table_utility.draw(dataclasses.replace(made_up_study, utility=single))
    assert drawn.data["accuracy_low"].isna().all()
    assert "One seed, hence no interval" in drawn.caption
    assert drawn.shown is not None
    assert not drawn.shown["Accuracy"].str.contains("[", regex=False).any()
    assert set(drawn.shown.query("Defense == 'No defense'")["Change [points]"]) == {"baseline"}


def test_a_setting_that_no_attack_met_is_in_the_table(made_up_study: StudyData) -> None:
    nothing = made_up_study.scores.iloc[:0]
    drawn = table_utility.draw(dataclasses.replace(made_up_study, scores=nothing))
    assert len(drawn.data) == 8


def test_bands_of_the_curves_are_t_intervals(made_up_study: StudyData) -> None:
    table = utility_curve.plotted(made_up_study)
    point = table.query(f"{PLACE} and round == 4").iloc[0]
    values = made_up_study.utility.query(f"{PLACE} and round == 4")["accuracy"].to_numpy()
    wanted = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert (point["accuracy_low"], point["accuracy_high"]) == pytest.approx(wanted)
    assert "95 % t intervals" in utility_curve.draw(made_up_study).caption


def test_many_settings_are_drawn_without_bands_and_the_caption_says_where_they_are(
    made_up_study: StudyData,
) -> None:
    tip = made_up_study.utility.query("defense == 'tip'")
    more = [tip.assign(defense=f"gaussian-sigma{number}") for number in range(9)]
    crowded = dataclasses.replace(made_up_study, utility=pd.concat(more))
    drawn = utility_curve.draw(crowded)
    assert drawn.figure is not None
    assert not drawn.figure.axes[0].collections
    assert "in the data file" in drawn.caption
    few = utility_curve.draw(made_up_study)
    assert few.figure is not None
    assert few.figure.axes[0].collections


def test_a_defense_has_a_panel_with_its_curve(made_up_study: StudyData) -> None:
    drawn = privacy_utility_curves.draw(made_up_study)
    table = drawn.data.query("dataset == 'photos'").set_index("defense")
    assert table.loc["gaussian-sigma0.1", "strength"] == "sigma 0.1"
    assert table.loc["tip", "strength"] == ""
    whole = privacy_utility.plotted(made_up_study).query("metric == 'psnr'")
    merged = drawn.data.merge(whole, on=["dataset", "model", "defense"], suffixes=("", "_whole"))
    assert (merged["psnr"] == merged["worst"]).all()
    assert drawn.figure is not None
    titles = [panel.get_title(loc="left") for panel in drawn.figure.axes]
    assert titles == ["Gaussian noise", "Gaussian noise", "TIP", "TIP"]
    lines = [line for line in drawn.figure.axes[0].get_lines() if len(line.get_xdata()) == 2]
    accuracies = 100 * table.loc[["gaussian-sigma0.01", "gaussian-sigma0.1"], "accuracy"]
    assert any(np.allclose(line.get_xdata(), accuracies) for line in lines)


def test_the_caption_names_points_without_room_for_their_name(
    made_up_study: StudyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "Points without room for their name"
    assert words not in privacy_utility_curves.draw(made_up_study).caption
    # Names as wide as half a page have room nowhere.
    monkeypatch.setattr(placing, "width", lambda words, size: 4.0)
    caption = privacy_utility_curves.draw(made_up_study).caption
    assert f"{words}: Gaussian noise 0.01, Gaussian noise 0.1" in caption


def test_a_setting_that_no_sweep_made_is_on_no_curve(made_up_study: StudyData) -> None:
    scores, utility = made_up_study.scores, made_up_study.utility
    names = {"gaussian-sigma0.1": "gaussian-control_map"}
    study = dict(made_up_study.study)
    study["defenses"] = [
        {"id": names.get(item["id"], item["id"]), "name": item["name"]}
        for item in study["defenses"]
    ]
    renamed = dataclasses.replace(
        made_up_study,
        scores=scores.replace({"defense": names}),
        utility=utility.replace({"defense": names}),
        study=study,
    )
    table = privacy_utility_curves.plotted(renamed).set_index(["dataset", "defense"])
    assert table.loc[("photos", "gaussian-control_map"), "value"] == ""
    assert table.loc[("photos", "gaussian-control_map"), "method"] == "gaussian"
    assert (
        "On no curve: Gaussian noise (control map)" in privacy_utility_curves.draw(renamed).caption
    )
