"""Every figure and table on a made-up study: numbers, captions, and what stands where data lack."""

from __future__ import annotations

import dataclasses
import importlib
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from narrow import MOST_COLUMNS, columns

from gradsiege import catalogue
from gradsiege.report import style
from gradsiege.report.chosen_victims import at_quantiles
from gradsiege.report.data import Drawn, LazyPictures, StudyData
from gradsiege.report.figures import gallery
from gradsiege.report.page.captions import sentences
from gradsiege.report.page.page import ELSEWHERE, exhibits
from gradsiege.report.tables import table_attacks, table_defenses
from gradsiege.study.ledger import FILE, load

FIGURES = (
    "headline",
    "reconstructions",
    "gallery",
    "privacy_utility",
    "privacy_utility_curves",
    "utility_curve",
    "attack_defense_heatmap",
    "training_stage",
    "tip_channels",
    "tip_activation_maps",
    "tip_deletion_insertion",
    "metric_agreement",
    "identification_curves",
)
# These draw published points or particular threat models, which the made-up study lacks: tests of their own.
PARTICULAR = (
    "batch_norm_labels",
    "budget_curves",
    "gifd_stages",
    "published_gifd",
    "published_shadow",
    "published_tip",
    "sweep_psnr",
    "sweep_ssim",
)
KEY = ["dataset", "defense", "training_stage", "attack"]
TABLES = (
    "table_attacks",
    "table_defenses",
    "table_headline",
    "table_utility",
    "table_claims",
    "table_compute",
    "table_costs",
    "table_labels",
    "table_power",
)
# Tables of what only some studies hold; as for PARTICULAR, each has tests of its own.
PARTICULAR_TABLES = (
    "table_gains",
    "table_noise_ordering",
    "table_switches",
    "table_tip_cosine",
    "table_tuning",
)
SPENT: dict[str, float] = {}  # seconds of processor time
EVERY = FIGURES + PARTICULAR + TABLES + PARTICULAR_TABLES


def draw(name: str, data: StudyData) -> Drawn:
    drawn: Drawn = importlib.import_module(catalogue.entries("figures")[name].module).draw(data)
    return drawn


@pytest.fixture(scope="module")
def drawn(made_up_study: StudyData) -> dict[str, Drawn]:
    judged = dataclasses.replace(made_up_study, claims=load(Path(__file__).parents[2] / FILE))
    by_name = {}
    for name in EVERY:
        start = time.process_time()
        by_name[name] = draw(name, judged)
        SPENT[name] = time.process_time() - start
    return by_name


@pytest.mark.parametrize("name", EVERY)
def test_a_figure_is_made_again_in_seconds(drawn: dict[str, Drawn], name: str) -> None:
    """A reader may ask for one figure: 20 s are promised, of which programs and data take half."""
    assert drawn[name].title
    assert SPENT[name] < 8


def test_the_catalogue_finds_every_figure() -> None:
    entries = catalogue.entries("figures")
    assert set(EVERY) == set(entries)
    assert all(entry.version >= 1 and len(entry.summary) > 20 for entry in entries.values())


@pytest.mark.parametrize("name", FIGURES)
def test_figures_say_what_they_show(drawn: dict[str, Drawn], name: str) -> None:
    exhibit = drawn[name]
    assert exhibit.figure is not None
    assert len(exhibit.data)
    assert exhibit.title
    assert exhibit.alt
    # The strip shows images of one data set, here the real one.
    assert ("Phantom is a synthetic stand-in" in exhibit.caption) == (name != "reconstructions")
    figure = exhibit.figure
    assert figure.get_size_inches()[0] <= 10.5  # still readable on a page


@pytest.mark.parametrize("name", [name for name in EVERY if name not in ELSEWHERE])
def test_a_caption_has_three_sentences_and_folds_the_rest(
    drawn: dict[str, Drawn], made_up_study: StudyData, name: str
) -> None:
    text = drawn[name].caption
    (exhibit,) = exhibits({name: drawn[name]}, {}, made_up_study)
    shown, folded = sentences(exhibit.caption.shown), sentences(exhibit.caption.folded)
    assert 1 <= len(shown) <= 3
    assert sorted(shown + folded) == sorted(sentences(text)), "no sentence is lost"
    note = "Phantom is a synthetic stand-in, not real images."
    assert (note in shown) == (note in text), "what is not real is never behind a fold"
    assert all(len(sentence) < 330 for sentence in shown), "a sentence, not a page"


@pytest.mark.parametrize("name", TABLES)
def test_tables_have_a_row_for_every_row(drawn: dict[str, Drawn], name: str) -> None:
    table = drawn[name]
    assert table.figure is None
    assert table.shown is not None
    # Several rows of data may stand in one line: the attackers of a defense.
    assert 0 < len(table.shown) <= len(table.data)
    assert table.shown.map(lambda cell: isinstance(cell, str)).all(axis=None)


@pytest.mark.parametrize("name", EVERY)
def test_an_empty_study_is_drawn_and_says_so(empty_study: StudyData, name: str) -> None:
    exhibit = draw(name, empty_study)
    # What a study can detect is said before it runs.
    assert exhibit.data.empty == (name != "table_power")
    assert (exhibit.figure is None) == name.startswith("table_")
    assert exhibit.caption


@pytest.fixture(scope="module")
def failed_study(made_up_study: StudyData) -> StudyData:
    scores = made_up_study.scores.copy()
    attacks = scores["kind"] == "attack"
    scores.loc[attacks, "status"] = "failed"
    scores.loc[attacks, ["psnr", "ssim", "haarpsi"]] = np.nan
    return dataclasses.replace(made_up_study, scores=scores)


@pytest.fixture(scope="module")
def bare_study(made_up_study: StudyData) -> StudyData:
    utility = made_up_study.utility.query("seed == 0")
    return StudyData(made_up_study.scores, utility, pictures=made_up_study.pictures)


@pytest.mark.parametrize("name", EVERY)
def test_a_study_where_every_attack_failed(failed_study: StudyData, name: str) -> None:
    exhibit = draw(name, failed_study)
    assert exhibit.caption
    if name == "attack_defense_heatmap":
        assert exhibit.data["failed"].sum() == (failed_study.scores["kind"] == "attack").sum()


@pytest.mark.parametrize("name", EVERY)
def test_bare_study_files_and_one_seed_are_enough(bare_study: StudyData, name: str) -> None:
    exhibit = draw(name, bare_study)
    if name in ("utility_curve", "privacy_utility"):
        assert "ne seed, hence no" in exhibit.caption


def test_privacy_utility_shows_the_strongest_attacker(drawn: dict[str, Drawn]) -> None:
    table = drawn["privacy_utility"].data
    assert set(table["role"]) == {"worst_case", "worst_identified"}
    tip = table.query("dataset == 'photos' and defense == 'tip' and role == 'worst_case'").iloc[0]
    assert tip["attack"] == "inverting_gradients"
    assert tip["training_stage"] == "untrained"
    assert tip["attackers"] == 4
    assert tip["seeds"] == 3
    assert tip["accuracy_low"] < tip["accuracy"] < tip["accuracy_high"]


def test_heatmap_data_are_the_summary(made_up_study: StudyData, drawn: dict[str, Drawn]) -> None:
    table = drawn["attack_defense_heatmap"].data
    assert table["psnr"].tolist() == made_up_study.summary["psnr"].tolist()
    words = {text.get_text() for text in drawn["attack_defense_heatmap"].figure.axes[2].texts}
    assert "not run" in words
    assert any(word.endswith("*") for word in words)


def test_gallery_victims_follow_the_rule(made_up_study: StudyData, drawn: dict[str, Drawn]) -> None:
    table = drawn["gallery"].data
    assert set(table["training_stage"]) == {"untrained"}
    cell = table.query("dataset == 'photos' and defense == 'none'")
    ours = cell.query("attack == 'inverting_gradients'").set_index("quantile")
    scores = made_up_study.scores.query(
        "dataset == 'photos' and defense == 'none' and training_stage == 'untrained'"
        " and attack == 'inverting_gradients'"
    )["psnr"].sort_values(ignore_index=True)
    assert ours.loc[0.1, "psnr"] == scores[1]
    assert ours.loc[0.9, "psnr"] == scores[6]
    assert "0.1, 0.5 and 0.9 quantiles" in drawn["gallery"].caption


def test_quantiles_of_few_images_repeat_none() -> None:
    rows = pd.DataFrame({"psnr": [20.0, 25.0], "victim": [4, 2], "image": [0, 0]})
    assert at_quantiles(rows, gallery.QUANTILES) == [(0.1, 4, 0), (0.9, 2, 0)]


def _two_threat_models(data: StudyData) -> StudyData:
    informed = data.scores.query("kind == 'attack' and defense != 'none'").copy()
    informed["threat_model"] = "adaptive"
    informed["psnr"] += 3.0
    threats = [*data.threat_models, {"id": "adaptive", "disclosure": True}]
    load = data.pictures.__getitem__
    renamed = LazyPictures(
        data.pictures,
        lambda key: {
            name
            if name in ("truth",) or name.startswith("control_")
            else f"labels_inferred/{name}": x
            for name, x in load(key).items()
        },
    )
    return dataclasses.replace(
        data,
        scores=pd.concat([data.scores, informed], ignore_index=True),
        threat_models=threats,
        pictures=renamed,
    )


def test_adaptive_attackers_set_the_worst_case(made_up_study: StudyData) -> None:
    table = table_defenses.draw(_two_threat_models(made_up_study))
    tip = table.data.query("dataset == 'photos' and defense == 'tip'").set_index("role")
    assert tip.loc["worst_case", "threat_model"] == "adaptive"
    assert tip["adaptive_attackers"].max() == 4
    assert tip.loc["worst_case", "psnr"] == pytest.approx(tip.loc["non_adaptive", "psnr"] + 3.0)
    assert "Non-adaptive PSNR [dB]" in table.shown
    assert "adaptive ones included" in table.caption


def test_a_study_without_adaptive_attackers_says_so(drawn: dict[str, Drawn]) -> None:
    assert (
        "no setting has been shown to resist an adaptive attack" in drawn["table_defenses"].caption
    )


@pytest.fixture(scope="module")
def informed_study(made_up_study: StudyData) -> StudyData:
    return _two_threat_models(made_up_study)


@pytest.mark.parametrize("name", FIGURES)
def test_several_threat_models_are_told_apart(informed_study: StudyData, name: str) -> None:
    exhibit = draw(name, informed_study)
    if name == "gallery":
        assert set(exhibit.data.query("kind == 'attack'")["threat_model"]) == {"labels_inferred"}
    if name == "attack_defense_heatmap":
        names = [tick.get_text() for tick in exhibit.figure.axes[0].get_yticklabels()]
        assert "GI-PIP · labels inferred" in names
        assert "GI-PIP · adaptive" in names


def _with_lpips(data: StudyData) -> StudyData:
    done = data.scores["status"].eq("complete")
    values = {"lpips": 0.25, "lpips_vgg": 0.5, "rank_lpips": 1.0}
    scores = data.scores.assign(**{name: done.map({True: x}) for name, x in values.items()})
    return dataclasses.replace(data, scores=scores)


@pytest.fixture(scope="module")
def widest_study(made_up_study: StudyData) -> StudyData:
    """Everything that gives a table a column more: LPIPS, informed attackers, a bound, claims."""
    claims = load(Path(__file__).parents[2] / FILE)
    data = dataclasses.replace(_with_lpips(_two_threat_models(made_up_study)), claims=claims)
    bound = data.scores[data.scores["attack"] == "control_random"]
    bound = bound.assign(attack="perfect_inversion", kind="bound", psnr=35.0)
    return dataclasses.replace(data, scores=pd.concat([data.scores, bound], ignore_index=True))


# What a person compares fits into eight.
MOST = {"table_attacks": 8}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_for_people_is_narrow(widest_study: StudyData, name: str) -> None:
    module = importlib.import_module(catalogue.entries("figures")[name].module)
    headings = columns(module, widest_study)
    assert len(headings) <= MOST.get(name, MOST_COLUMNS), headings


def test_table_attacks_counts_failures_and_marks_what_is_significant(
    drawn: dict[str, Drawn],
) -> None:
    table = drawn["table_attacks"]
    failed = table.data["failed"].to_numpy() > 0
    assert table.shown["Attack"].str.contains("failed").tolist() == failed.tolist()
    starred = table.shown["Δ PSNR [dB]"].str.endswith(" *")
    assert starred.tolist() == (table.data["psnr_holm"] < 0.05).tolist()
    assert starred.any()


def test_table_attacks_shows_lpips_where_it_was_measured(
    made_up_study: StudyData, drawn: dict[str, Drawn]
) -> None:
    before = drawn["table_attacks"]
    assert "LPIPS" not in before.shown
    assert "LPIPS" not in before.caption
    after = table_attacks.draw(_with_lpips(made_up_study))
    assert after.shown["LPIPS"].str.startswith("0.25").all()
    assert set(after.data["lpips_vgg"]) == {0.5}
    assert after.data["identified_lpips"].notna().all()
    assert "LPIPS (AlexNet) is lower for closer images" in after.caption
    same = [name for name in before.data if "lpips" not in name]
    pd.testing.assert_frame_equal(after.data[same], before.data[same])


def test_table_attacks_compares_with_the_baseline(drawn: dict[str, Drawn]) -> None:
    table = drawn["table_attacks"]
    place = table.data.query("dataset == 'photos' and training_stage == 'untrained'").set_index(
        "attack"
    )
    assert np.isnan(place.loc["inverting_gradients", "psnr_change"])
    assert place.loc["gi_pip", "psnr_change"] < 0 < place.loc["gi_pip", "psnr_holm"]
    assert [table.data["kind"][row] for row in table.quiet] == ["control"] * len(table.quiet)


def test_compute_counts_failed_jobs(drawn: dict[str, Drawn]) -> None:
    table = drawn["table_compute"].data.set_index("stage")
    assert table.loc["attack", ["jobs", "failed_jobs", "total_seconds"]].tolist() == [2, 1, 164.0]
    assert list(table.index) == ["fetch", "federate", "attack", "score"]


def test_a_method_has_one_colour_everywhere() -> None:
    for table in (style.ATTACKS, style.DEFENSES):
        assert len(set(table.values())) == len(table)
        assert len({colour for colour, _ in table.values()}) == len(table)
    assert style.colour("not_in_the_table") == style.colour("not_in_the_table")


def test_large_studies_stay_on_a_page(made_up_study: StudyData) -> None:
    more = [made_up_study.scores.assign(defense=f"gaussian-sigma{k}") for k in range(6)]
    scores = pd.concat([made_up_study.scores.query("defense == 'none'"), *more])
    scores = scores.drop_duplicates(["dataset", "defense", "training_stage", "attack", "victim"])
    figure = draw(
        "attack_defense_heatmap", dataclasses.replace(made_up_study, scores=scores)
    ).figure
    assert figure is not None
    assert figure.get_size_inches()[0] <= 10.5


def test_style_leaves_nothing_behind() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with style.study_style():
        assert mpl.rcParams["text.color"] == style.INK
    assert dict(mpl.rcParams) == before


def test_label_accuracy_is_a_mean_over_updates_and_leaves_granted_labels_out(
    made_up_study: StudyData,
) -> None:
    scores = made_up_study.scores.copy()
    first = scores.query("kind == 'attack'").iloc[0]
    same = (scores[KEY] == first[KEY]).all(axis=1)
    granted = scores[same].assign(threat_model="told", label_accuracy=1.0)
    study = {
        "threat_models": [{"id": "told", "labels": "given"}],
        "protocols": [{"id": "fedsgd", "duplicates": True}],
        "attacks": [{"id": first["attack"], "name": first["attack"], "label_rule": "row_sum"}],
    }
    data = StudyData(pd.concat([scores, granted]), made_up_study.utility, study=study)
    table = importlib.import_module("gradsiege.report.tables.table_labels").plotted(data)
    assert set(table["threat_model"]) == {"labels_inferred"}
    row = table[(table[KEY] == first[KEY]).all(axis=1)]
    assert row["label_rule"].item() == "row_sum"
    assert row["duplicates"].item()
    expected = scores[same].groupby("victim")["label_accuracy"].first().mean()
    assert row["label_accuracy"].item() == pytest.approx(expected)
