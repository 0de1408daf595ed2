"""The figures on TIP's interpretability: which cells they show, and that the numbers are those of the artifacts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gradsiege.report.data import StudyData
from gradsiege.report.figures import tip_activation_maps, tip_channels, tip_deletion_insertion
from gradsiege.report.tip_explained import explained_cells


def key_of(defense: str, stage: str = "late", seed: int = 0) -> str:
    return f"photos/convnet/{defense}/{stage}/fedsgd/seed{seed}"


def with_arrays(data: StudyData, key: str, **arrays: np.ndarray) -> StudyData:
    changed = {**data.explanations[key], **arrays}
    return dataclasses.replace(data, explanations={**data.explanations, key: changed})


def test_one_late_cell_of_the_lowest_seed_stands_for_each_defense(made_up_study: StudyData) -> None:
    again = {key_of("tip", seed=1): made_up_study.explanations[key_of("tip")]}
    data = dataclasses.replace(made_up_study, explanations={**again, **made_up_study.explanations})
    keys = [cell.key for cell in explained_cells(data)]
    assert keys[:4] == [
        key_of(name) for name in ("none", "gaussian-sigma0.01", "gaussian-sigma0.1", "tip")
    ]
    assert len(keys) == 7


def test_maps_are_compared_by_their_correlation(made_up_study: StudyData) -> None:
    drawn = tip_activation_maps.draw(made_up_study)
    table = drawn.data.query("dataset == 'photos'").set_index(["defense", "victim"])
    assert len(table) == 8
    assert table.loc[("none", 0), "map_correlation"] == pytest.approx(1.0)
    arrays = made_up_study.explanations[key_of("tip")]
    expected = np.corrcoef(arrays["map.before"][1].ravel(), arrays["map.after"][1].ravel())[0, 1]
    assert table.loc[("tip", 1), "map_correlation"] == pytest.approx(expected)
    shown = drawn.figure.axes[0].images[0].get_array()
    assert np.array_equal(
        shown, made_up_study.pictures[key_of("none")]["truth"][0].transpose(1, 2, 0)
    )


def test_blank_maps_are_counted_and_have_no_correlation(made_up_study: StudyData) -> None:
    blank = np.zeros_like(made_up_study.explanations[key_of("tip")]["map.after"])
    drawn = tip_activation_maps.draw(
        with_arrays(made_up_study, key_of("tip"), **{"map.after": blank})
    )
    rows = drawn.data.query("dataset == 'photos' and defense == 'tip'")
    assert rows["blank_after"].all()
    assert not rows["blank_before"].any()
    assert rows["map_correlation"].isna().all()
    assert "2 of 14 pairs hold one" in drawn.caption


def test_maps_are_drawn_before_anything_is_scored(made_up_study: StudyData) -> None:
    bare = dataclasses.replace(made_up_study, pictures={})
    drawn = tip_activation_maps.draw(bare)
    assert len(drawn.data) == 14
    assert not drawn.figure.axes[0].images
    assert drawn.figure.axes[1].images


def test_channels_show_what_changed_and_leave_out_what_did_not(made_up_study: StudyData) -> None:
    drawn = tip_channels.draw(made_up_study)
    assert "none" not in set(drawn.data["defense"])
    rows = drawn.data.query("dataset == 'photos' and defense == 'tip'")
    dots = rows[rows["channel"].notna()]
    assert dots.groupby("layer", sort=False).size().to_dict() == {"stem": 6, "thin": 9, "wide": 12}
    changed = dots[dots["channel_change"] > 0].groupby("layer")["channel"].apply(list).to_dict()
    assert changed == {"stem": [0, 3], "wide": [0, 3, 6, 9]}
    spectrum = rows[rows["channel"].isna()]
    # The middle one of two changed convolutions is the second.
    assert set(spectrum["layer"]) == {"wide"}
    assert len(spectrum) == 25
    assert sorted(set(spectrum["vertical"])) == [-2, -1, 0, 1, 2]
    assert np.allclose(spectrum["power_after"] - spectrum["power_before"], 0.6)


def test_a_diverged_model_is_left_out_of_the_channels(made_up_study: StudyData) -> None:
    broken = np.full((2, 6), np.nan, dtype=np.float32)
    data = with_arrays(made_up_study, key_of("tip"), **{"change.stem": broken})
    drawn = tip_channels.draw(data)
    assert drawn.data.query("dataset == 'photos' and defense == 'tip'").empty
    assert not drawn.data.query("dataset == 'phantom' and defense == 'tip'").empty


def test_areas_are_means_over_victims_with_paired_differences(made_up_study: StudyData) -> None:
    table = tip_deletion_insertion.draw(made_up_study).data.query("dataset == 'photos'")
    table = table.set_index(["defense", "curve"])
    none, tip = table.loc[("none", "deletion")], table.loc[("tip", "deletion")]
    assert none["area_before"] == pytest.approx(0.31)
    # 0.3 moves by 0.6 of the way to 0.5; the second victim is 0.01 further.
    assert tip["area_after"] == pytest.approx(0.42 + 0.015)
    assert tip["area_change"] == pytest.approx(0.125)
    assert tip["area_change_low"] <= tip["area_change"] <= tip["area_change_high"]
    assert table.loc[("tip", "insertion"), "area_change"] < 0


def test_victims_without_a_finite_area_are_counted_apart(made_up_study: StudyData) -> None:
    half = np.array([0.4, np.nan], dtype=np.float32)
    data = with_arrays(made_up_study, key_of("tip"), **{"deletion_area.after": half})
    drawn = tip_deletion_insertion.draw(data)
    row = drawn.data.query("dataset == 'photos' and defense == 'tip' and curve == 'deletion'").iloc[
        0
    ]
    assert (row["victims"], row["failed"]) == (1, 1)
    assert row["area_change"] == pytest.approx(0.1)
    assert np.isnan(row["area_change_low"])
    assert "1 models gave no finite value" in drawn.caption
