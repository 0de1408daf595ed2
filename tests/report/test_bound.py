"""How the perfect-inversion bound is shown: beside a defense, never among attacks or controls."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from gradsiege.report.data import LazyPictures, StudyData
from gradsiege.report.figures import (
    attack_defense_heatmap,
    gallery,
    privacy_utility,
    training_stage,
)
from gradsiege.report.page.findings import findings
from gradsiege.report.tables import table_defenses

PSNR = {"untrained": 35.0, "late": 26.0}


def with_bound(data: StudyData, lpips: float = float("nan")) -> StudyData:
    """The made-up study, in which TIP stands for a defense that transforms the batch."""
    scores = data.scores
    rows = scores[(scores["defense"] == "tip") & (scores["attack"] == "control_random")].copy()
    rows["attack"], rows["kind"] = "perfect_inversion", "bound"
    rows["psnr"] = rows["training_stage"].map(PSNR) + 0.1 * rows["victim"]
    rows["ssim"], rows["lpips"] = 0.9, lpips
    load = data.pictures.__getitem__

    def pictures(key: str) -> dict[str, np.ndarray]:
        held = dict(load(key))
        return held | {"perfect_inversion": held["truth"]} if "/tip/" in key else held

    return dataclasses.replace(
        data,
        scores=pd.concat([scores, rows], ignore_index=True),
        pictures=LazyPictures(data.pictures, pictures),
    )


def test_the_table_shows_the_stage_where_the_images_show_most(made_up_study: StudyData) -> None:
    drawn = table_defenses.draw(with_bound(made_up_study))
    assert drawn.shown is not None
    settings = drawn.data[drawn.data["role"].isna()]
    bound = settings.set_index(["dataset", "defense"])["bound_psnr"]
    assert bound["photos", "tip"] == pytest.approx(35.35)
    assert np.isnan(bound["photos", "none"])
    cells = dict(zip(settings["defense"], drawn.shown["Perfect inversion"], strict=True))
    assert cells["tip"].startswith("35.4 dB [3")
    assert cells["tip"].endswith("SSIM 0.90")
    assert cells["none"] == "–"
    assert "Perfect inversion:" in drawn.caption


def test_lpips_stands_in_the_table_only_where_it_is_a_number(made_up_study: StudyData) -> None:
    drawn = table_defenses.draw(with_bound(made_up_study, lpips=0.25))
    assert drawn.shown is not None
    assert drawn.shown["Perfect inversion"].str.contains("SSIM 0.90, LPIPS 0.25").sum() == 2


def test_without_a_bound_nothing_is_said_of_it(made_up_study: StudyData) -> None:
    drawn = table_defenses.draw(made_up_study)
    assert drawn.shown is not None
    assert "Perfect inversion" not in drawn.shown
    assert "Perfect inversion" not in drawn.caption


def test_the_bound_competes_with_no_attack_and_is_no_control(made_up_study: StudyData) -> None:
    before = table_defenses.draw(made_up_study).data
    bounded = with_bound(made_up_study)
    after = table_defenses.draw(bounded).data
    same = [name for name in before if not name.startswith("bound_")]
    pd.testing.assert_frame_equal(before[same], after[same])
    for figure in (privacy_utility, training_stage, attack_defense_heatmap):
        pd.testing.assert_frame_equal(figure.draw(made_up_study).data, figure.draw(bounded).data)


def test_the_gallery_shows_it_where_it_exists(made_up_study: StudyData) -> None:
    drawn = gallery.draw(with_bound(made_up_study))
    rows = drawn.data[drawn.data["kind"] == "bound"]
    assert set(rows["defense"]) == {"tip"}
    assert set(rows["training_stage"]) == {"untrained"}
    assert drawn.figure is not None
    words = [text.get_text() for text in drawn.figure.axes[0].texts]
    assert "Bound" in words
    # Cells without one are left empty: there the bound is the original.
    assert "not run" not in words


def test_a_sentence_names_it(made_up_study: StudyData) -> None:
    sentences = [finding.sentence for finding in findings(with_bound(made_up_study))]
    assert any("a perfect inversion would show 35.4 dB" in sentence for sentence in sentences)
    assert not any("perfect inversion" in finding.sentence for finding in findings(made_up_study))
