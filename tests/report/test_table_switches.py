"""The table of switches: planted effects of a defect on scores and accuracy."""

from dataclasses import replace

import pandas as pd
import pytest
from narrow import MOST_COLUMNS, columns

from gradsiege import catalogue
from gradsiege.report.data import StudyData
from gradsiege.report.tables import table_switches

EFFECT, COST = 2.0, 0.05


def item(identifier: str, name: str, arm: str = "faithful", **given: object) -> dict[str, object]:
    """A defense as a resolved study holds it: every parameter, defaults included."""
    declared = catalogue.entries("defenses")[name].parameters
    parameters = {key: default for key, (_, default) in declared.items()} | given
    return {"id": identifier, "name": name, "arm": arm, "parameters": parameters}


@pytest.fixture
def planted(made_up_study: StudyData) -> StudyData:
    """TIP with one defect on recovers 2 dB more and trains 5 points better; nothing else differs."""
    scores, utility = made_up_study.scores, made_up_study.utility
    twin = scores[scores["defense"] == "tip"].assign(defense="tip-first")
    twin["psnr"] += EFFECT
    trained = utility[utility["defense"] == "tip"].assign(defense="tip-first")
    trained["accuracy"] += COST
    defenses = [
        item("none", "none"),
        item("tip", "tip", ratio=0.1),
        item("tip-first", "tip", ratio=0.1, first_sample_only=True),
        item("tip-elsewhere", "tip", ratio=0.3, first_sample_only=True),
        item("tip-control", "tip", ratio=0.1, match_energy=True),
    ]
    return replace(
        made_up_study,
        scores=pd.concat([scores, twin]),
        utility=pd.concat([utility, trained]),
        study={**made_up_study.study, "defenses": defenses},
    )


def test_only_a_defect_is_paired_and_only_with_its_own_settings(planted: StudyData) -> None:
    assert list(table_switches.pairs(planted)) == [("tip-first", "tip", "first_sample_only")]


def test_the_planted_effects_are_found(planted: StudyData) -> None:
    table = table_switches.plotted(planted)
    assert len(table) == 2 * 2 * 2  # data sets, stages, attacks
    for end in ("", "_low", "_high"):
        assert table[f"psnr_change{end}"].to_list() == pytest.approx([EFFECT] * len(table))
        assert table[f"accuracy_change{end}"].to_list() == pytest.approx([COST] * len(table))
    assert set(table["seeds"]) == {3}
    assert (table["psnr_holm"] >= table["psnr_p"]).all()
    # The attack that failed on one victim has a pair less.
    assert set(table.loc[table["attack"] == "gi_pip", "victims"]) == {7}


def test_the_whole_release_is_named_so(planted: StudyData) -> None:
    defenses = [item("tip", "tip"), item("tip-first", "tip", "as_released")]
    released = replace(planted, study={**planted.study, "defenses": defenses})
    drawn = table_switches.draw(released)
    shown = drawn.shown
    assert shown is not None
    assert set(shown["Switched on"]) == {"all"}
    assert set(shown["Δ accuracy [points]"]) == {"5.0 [5.0, 5.0]"}
    significant = (drawn.data["psnr_holm"] < 0.05).tolist()
    assert shown["Δ PSNR [dB]"].str.endswith(" *").tolist() == significant
    assert len(columns(table_switches, released)) <= MOST_COLUMNS


def test_a_study_without_switches_says_so(made_up_study: StudyData) -> None:
    drawn = table_switches.draw(made_up_study)
    assert drawn.data.empty
    assert drawn.caption.startswith("No defense was attacked both")
