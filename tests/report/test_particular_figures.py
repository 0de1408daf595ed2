"""Figures that ask about metrics, ranks, knowledge, cost and published points: planted answers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from scipy.stats import spearmanr

from gradsiege.report import style
from gradsiege.report.data import StudyData
from gradsiege.report.figures import (
    batch_norm_labels,
    identification_curves,
    metric_agreement,
    published_gifd,
    published_shadow,
    published_tip,
)
from gradsiege.report.page.inline import DARK
from gradsiege.report.tables import table_costs
from gradsiege.study import parse
from gradsiege.study.ledger import FILE, load

STUDY = {
    "study": "made_up",
    "victims": 8,
    "datasets": [
        {
            "name": "photos",
            "size": 24,
            "counts": {"train": 16, "test": 8, "aux": 8, "public": 8, "tune": 1, "victims": 64},
        }
    ],
    "models": ["convnet"],
    "defenses": [
        "none",
        "tip",
        {"name": "gaussian", "sweep": {"sigma": [0.01, 0.1]}},
        {"name": "shadow"},
    ],
    "training_stages": ["untrained", "late"],
    "protocols": [{"name": "fedsgd", "images": 1, "batch_size": 1}],
    "threat_models": [{"id": "labels_inferred"}],
    "attacks": [{"name": "inverting_gradients", "iterations": 300}],
}


@pytest.fixture(scope="module")
def judged(made_up_study: StudyData) -> StudyData:
    """The made-up results of photographs, with a full study file, Shadow's rows, and the ledger."""
    study = parse(STUDY, "made_up").model_dump(mode="json")
    scores = made_up_study.scores.query("dataset == 'photos' and attack != 'gi_pip'")
    shadow = scores.query("defense == 'none'").assign(defense="shadow")
    shadow["psnr"] -= 3.0
    utility = made_up_study.utility.query("dataset == 'photos'")
    trained = utility.query("defense == 'none'").assign(defense="shadow")
    return dataclasses.replace(
        made_up_study,
        scores=pd.concat([scores, shadow], ignore_index=True),
        utility=pd.concat([utility, trained], ignore_index=True),
        study=study,
        claims=load(Path(__file__).parents[2] / FILE),
    )


def test_agreement_over_everything_is_spearmans(made_up_study: StudyData) -> None:
    table = metric_agreement.plotted(made_up_study).set_index(["scope", "first", "second"])
    done = made_up_study.scores.query("kind == 'attack' and status == 'complete'")
    for first, second in (("psnr", "ssim"), ("psnr", "haarpsi")):
        expected = spearmanr(done[first], done[second]).statistic
        row = table.loc[("all", first, second)]
        assert row["correlation"] == pytest.approx(expected)
        assert row["correlation_low"] <= expected <= row["correlation_high"]
    relative = -done["rank"] / done["gallery_size"]
    expected = spearmanr(done["psnr"], relative).statistic
    assert table.loc[("all", "psnr", "retrieval"), "correlation"] == pytest.approx(expected)


def test_agreement_takes_in_lpips_and_its_ranks_where_they_were_measured(
    made_up_study: StudyData,
) -> None:
    scores = made_up_study.scores
    measured = scores.assign(lpips_vgg=-scores["psnr"], rank_lpips=scores["rank"])
    table = metric_agreement.plotted(dataclasses.replace(made_up_study, scores=measured))
    correlations = table.set_index(["scope", "first", "second"])["correlation"]
    assert correlations["all", "psnr", "lpips_vgg"] == pytest.approx(1.0)
    assert correlations["all", "retrieval", "retrieval_lpips"] == pytest.approx(1.0)
    assert {*table["first"], *table["second"]} <= set(metric_agreement.NAMES)


def test_easy_images_do_not_make_metrics_agree() -> None:
    """Two metrics that both rise with the image, and opposed on every image: agreement over all, none within."""
    rows = [
        {"kind": "attack", "status": "complete", "dataset": "photos", "victim": v, "image": 0, "seed": 0}
        | {"attack": f"a{a}", "psnr": 10.0 * v + a, "ssim": 0.1 * v - 0.001 * a}
        for v in range(6)
        for a in range(4)
    ]  # fmt: skip
    agreement = metric_agreement.plotted(StudyData(pd.DataFrame(rows), pd.DataFrame()))
    by_scope = agreement.set_index("scope")["correlation"]
    assert by_scope["all"] > 0.8
    assert by_scope["victim"] == pytest.approx(-1.0)


def test_the_curve_starts_at_the_identification_rate_and_counts_failures(
    made_up_study: StudyData,
) -> None:
    scores = made_up_study.scores.query("dataset == 'photos'").copy()
    failed = (
        (scores["attack"] == "gi_pip") & (scores["defense"] == "none") & (scores["victim"] == 2)
    )
    scores.loc[failed, ["status", "rank"]] = ["failed", 1]  # a rank that must not count
    scores.loc[failed, "psnr"] = np.nan
    data = dataclasses.replace(made_up_study, scores=scores)
    table = identification_curves.plotted(data)
    summary = data.summary.set_index(["dataset", "training_stage", "defense", "attack"])
    first = table[table["k"] == 1]
    for _, row in first.iterrows():
        place = row["dataset"], row["training_stage"], row["defense"], row["attack"]
        expected = summary.loc[place]
        for end in ("", "_low", "_high"):
            assert row[f"identified{end}"] == pytest.approx(expected[f"identified{end}"])
    curves = table.groupby(["panel", "dataset", "training_stage", "defense", "attack"])
    assert all(curve["identified"].is_monotonic_increasing for _, curve in curves)
    last = table[table["k"] == table["chance"].rdiv(table["k"])]
    assert np.allclose(last["identified"], 1 - last["failed"] / last["rows"])
    assert table.loc[table["failed"] > 0, "identified"].max() == pytest.approx(7 / 8)


def test_curves_by_lpips_start_at_its_identification_rate_and_have_panels_of_their_own(
    made_up_study: StudyData,
) -> None:
    scores = made_up_study.scores.query("dataset == 'photos'").copy()
    done = scores["status"].eq("complete")
    scores["rank_lpips"] = (scores["victim"] + 1.0).where(done)
    data = dataclasses.replace(made_up_study, scores=scores)
    drawn = identification_curves.draw(data)
    bare = drawn.data.query("panel == 'attacks' and attack == 'gi_pip'")
    by_rank = bare[bare["training_stage"] == "late"].set_index("k")["identified_lpips"]
    # Victim v is the (v + 1)th nearest to its own reconstruction.
    assert by_rank[[1, 2, 4, 8, 108]].tolist() == [1 / 8, 2 / 8, 4 / 8, 1.0, 1.0]
    plain = identification_curves.draw(dataclasses.replace(data, scores=scores.drop(columns="rank_lpips")))  # fmt: skip
    assert plain.data["identified_lpips"].isna().all()
    assert "LPIPS" not in plain.caption
    assert "then by LPIPS" in drawn.caption
    assert drawn.figure is not None
    assert plain.figure is not None
    assert len(drawn.figure.axes) == 2 * len(plain.figure.axes)
    axes = [panel.get_ylabel() for panel in drawn.figure.axes[::2]]
    assert axes == 2 * ["Among the k nearest by pixels [%]", "Among the k nearest by LPIPS [%]"]


def _with_knowledge(
    data: StudyData, more: dict[tuple[str, bool], float] | None = None
) -> StudyData:
    """Undefended GI-PIP under four attackers: labels are worth 1 dB, the batch's statistics 2 dB, both 5 dB."""
    worth = {("inferred", False): 0.0, ("given", False): 1.0, ("inferred", True): 2.0, ("given", True): 5.0}  # fmt: skip
    worth |= more or {}
    base = data.scores.query("attack == 'gi_pip' and defense == 'none' and dataset == 'photos'")
    threats = [
        {"id": f"{labels}-{statistics}", "labels": labels, "batch_statistics": statistics}
        for labels, statistics in worth
    ]
    rows = [
        base.assign(threat_model=threat["id"], psnr=base["psnr"] + gain)
        for threat, gain in zip(threats, worth.values(), strict=True)
    ]
    odd = {"id": "unaware", "labels": "given", "batch_statistics": True, "protocol": False}
    rows.append(base.assign(threat_model="unaware", psnr=99.0))
    return dataclasses.replace(data, scores=pd.concat(rows), threat_models=[*threats, odd])


def test_the_four_attackers_are_paired_and_alike_in_all_else(made_up_study: StudyData) -> None:
    exhibit = batch_norm_labels.draw(_with_knowledge(made_up_study))
    assert exhibit.figure is not None
    assert "unaware" not in set(exhibit.data["threat_model"]), "it lacks what the others have"
    late = exhibit.data[exhibit.data["training_stage"] == "late"]
    gains = late.set_index(["labels", "batch_statistics"])["psnr_change"]
    assert np.isnan(gains["inferred", False])
    assert gains["given", False] == pytest.approx(1.0)
    assert gains["inferred", True] == pytest.approx(2.0)
    assert gains["given", True] == pytest.approx(5.0)
    assert "5.0 dB for GI-PIP" in exhibit.alt
    assert batch_norm_labels.draw(made_up_study).data.empty, "one attacker is not a comparison"


def test_an_attacker_who_is_misled_has_a_row_where_a_study_has_one(
    made_up_study: StudyData,
) -> None:
    misled = batch_norm_labels.draw(_with_knowledge(made_up_study, {("wrong", False): -3.0}))
    losses = misled.data.query("labels == 'wrong' and training_stage == 'late'")["psnr_change"]
    assert losses.tolist() == pytest.approx([-3.0])
    plain = batch_norm_labels.draw(_with_knowledge(made_up_study))
    for exhibit, rows in ((misled, ["wrong", "inferred", "given"]), (plain, ["inferred", "given"])):
        assert exhibit.figure is not None
        named = exhibit.figure.axes[0]
        assert [text.get_text() for text in named.get_yticklabels()] == rows


def test_costs_are_medians_of_jobs_and_ratios_to_no_defense(made_up_study: StudyData) -> None:
    job = {"stage": "attack", "seconds": 1.0, "status": "complete"}
    key = "photos/convnet/none/late/fedsgd/seed0/labels_inferred/gi_pip"
    measured = [{**job, "cell": key, "memory": memory} for memory in (700.0, 900.0)]
    utility = made_up_study.utility.copy()
    utility.loc[utility["defense"] == "tip", "seconds"] *= 3
    data = dataclasses.replace(made_up_study, manifests=measured, utility=utility)
    drawn = table_costs.draw(data)
    table = drawn.data.set_index(["dataset", "attack", "defense"]).sort_index()
    attack = table.loc[("photos", "gi_pip", "")]
    assert attack["jobs"] == 8
    assert attack["memory"] == 900.0
    assert attack["evaluation_seconds"] == pytest.approx(41.5 / (301 * 8))
    assert np.isnan(table.loc[("photos", "inverting_gradients", ""), "memory"])
    assert table.loc[("photos", "", "tip"), "round_ratio"] == pytest.approx(3.0)
    assert "A dash: not measured" in drawn.caption


def test_every_published_point_is_drawn_from_the_ledger_and_marked(judged: StudyData) -> None:
    by_id = {claim.id: claim for claim in judged.claims}
    tip = published_tip.draw(judged)
    curve = tip.data[
        (tip.data["source"] == "published") & (tip.data["claim"] == "tip.accuracy.tip")
    ]
    points = by_id["tip.accuracy.tip"].published()
    assert curve["accuracy"].tolist() == [value for _, _, value in points]
    assert curve["round"].tolist() == [cells.round for cells, _, _ in points]
    assert (tip.data["source"] == "published").sum() == 4 * 11
    assert tip.figure is not None
    published, ours, *_ = tip.figure.axes
    assert all(line.get_markerfacecolor() == "#ffffff" for line in published.lines)
    assert not any(line.get_markerfacecolor() == "#ffffff" for line in ours.lines)
    assert to_hex(published.get_facecolor()) == style.TINT
    assert to_hex(ours.get_facecolor()) == style.PAPER
    assert "PUBLISHED" in [text.get_text() for text in published.texts]
    gifd = published_gifd.draw(judged)
    assert (gifd.data["source"] == "published").sum() == 3 * 6 * 5
    shadow = published_shadow.draw(judged)
    assert set(shadow.data.query("source == 'published'")["claim"]) >= {"shadow.psnr.chest", "shadow.f1"}  # fmt: skip
    for exhibit in (tip, gifd, shadow):
        assert "published" in exhibit.caption.lower()
        assert "arXiv" in exhibit.caption


def test_ours_stand_beside_with_the_published_constants_alone(judged: StudyData) -> None:
    tip = published_tip.plotted(judged).query("source == 'measured'")
    assert set(tip["method"]) == {"none", "tip"}, "no AGP and no DP in this study"
    shadow = published_shadow.plotted(judged).query("source == 'measured' and metric == 'psnr'")
    assert shadow["metric_change"].tolist() == pytest.approx([-3.0])
    assert shadow["training_stage"].tolist() == ["late"]
    assert "(stand-in data)" in shadow["claim_verdict"].item()
    gifd = published_gifd.plotted(judged).query("source == 'measured'")
    assert set(gifd["defense"]) == {"none", "gaussian-sigma0.01"}, "0.1 is not the rerun's noise"
    assert set(gifd["rival"]) == {"inverting_gradients"}


def test_without_a_ledger_the_figure_says_so(made_up_study: StudyData) -> None:
    for module in (published_tip, published_shadow, published_gifd):
        assert "config/claims.yaml" in module.draw(made_up_study).caption


def _luminance(colour: str) -> float:
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_method_is_seen_on_a_dark_page_and_on_the_ground_of_published_points() -> None:
    """WCAG 2.2, success criterion 1.4.11: 3 to 1 for what a graph is read by; the ground itself must not outshine the page."""
    grounds = DARK[style.PAPER], DARK[style.TINT]
    for name, (colour, _) in style.METHODS.items():
        for ground in grounds:
            lights = _luminance(DARK.get(colour, colour)), _luminance(ground)
            assert (max(lights) + 0.05) / (min(lights) + 0.05) >= 3, name
    assert _luminance(DARK[style.TINT]) < 0.05


def test_verdicts_and_bands_are_seen_on_both_pages() -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1 for words; a band must not outshine what lies on it."""
    for ink in (style.SURVIVES, style.BROKEN, style.MUTED):
        for words, ground in ((ink, style.PAPER), (DARK[ink], DARK[style.PAPER])):
            lights = _luminance(words), _luminance(ground)
            assert (max(lights) + 0.05) / (min(lights) + 0.05) >= 4.5, ink
    for band in (style.BAND, style.FLOOR_BAND):
        assert _luminance(band) > 0.8
        assert _luminance(DARK[band]) < 0.05
