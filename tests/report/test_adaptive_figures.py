"""Budget curves and the cosines of dropped channels, on a made-up study that has budgets and explained victims."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from narrow import columns

from gradsiege.report.data import StudyData
from gradsiege.report.figures import budget_curves
from gradsiege.report.protection_words import sentence
from gradsiege.report.tables import table_headline, table_tip_cosine

BUDGETS = (25, 75, 225)
COUNTER = "tip.drop_flagged_channels"
# PSNR by defense and attacker: the blind one stays where it is, the informed one rises with its budget.
START = {"none": 20.0, "tip": 10.0}
INFORMED = {25: 12.0, 75: 16.0, 225: 19.5}


def _rows() -> list[dict[str, object]]:
    rows, rng = [], np.random.default_rng(0)
    for defense in START:
        attacks = [("control_nearest_aux", "control", "", 14.0, 0)]
        for budget in BUDGETS:
            blind = ("inverting_gradients-iterations" + str(budget), "attack", "strict")
            attacks.append((*blind, START[defense], budget))
            if defense == "tip":
                name = f"inverting_gradients-{COUNTER}-iterations{budget}"
                attacks.append((name, "attack", "informed", INFORMED[budget], budget))
        for attack, kind, threat, psnr, budget in attacks:
            for victim in range(6):
                dropped = COUNTER in attack and victim < 2
                rows.append(
                    {
                        "study": "made_up",
                        "dataset": "photos",
                        "model": "resnet18",
                        "defense": defense,
                        "training_stage": "untrained",
                        "protocol": "fedsgd",
                        "seed": 0,
                        "threat_model": threat,
                        "attack": attack,
                        "kind": kind,
                        "victim": victim,
                        "image": 0,
                        "status": "complete",
                        "psnr": psnr + 3 * np.sin(victim) + rng.normal(0, 0.02),
                        "ssim": 0.5,
                        "haarpsi": 0.5,
                        "identified": psnr > 18,
                        "gallery_size": 100,
                        "iterations": budget,
                        "evaluations": budget + 1,
                        "seconds": 1.0,
                        "cosine_received": 0.004 if dropped else np.nan,
                        "cosine_matched": 0.96 + 0.01 * victim if dropped else np.nan,
                        "energy_kept": 0.8 if dropped else np.nan,
                        "detection_auc": 1.0 if dropped else np.nan,
                    }
                )
    return rows


@pytest.fixture(scope="module")
def data() -> StudyData:
    attacks = [
        {
            "id": f"inverting_gradients{suffix}-iterations{budget}",
            "name": "inverting_gradients",
            "iterations": budget,
            "counter": counter,
            "rounds": "first",
        }
        for suffix, counter in (("", None), (f"-{COUNTER}", COUNTER))
        for budget in BUDGETS
    ]
    utility = pd.DataFrame(
        [
            {
                "dataset": "photos",
                "model": "resnet18",
                "defense": defense,
                "seed": 0,
                "round": 1,
                "accuracy": 0.5,
                "macro_f1": 0.5,
                "micro_f1": 0.5,
                "status": "complete",
                "seconds": 1.0,
                "peak_memory": 1.0,
            }
            for defense in START
        ]
    )
    return StudyData(
        scores=pd.DataFrame(_rows()),
        utility=utility,
        study={
            "defenses": [{"id": name, "name": name} for name in START],
            "attacks": attacks,
        },
        threat_models=[{"id": "strict"}, {"id": "informed", "disclosure": True}],
    )


def test_a_curve_is_one_attack_at_all_its_budgets(data: StudyData) -> None:
    drawn = budget_curves.draw(data)
    table = budget_curves.plotted(data)
    tip = table[table["defense"] == "tip"]
    curves = {flag: tip[tip["informed"] == flag] for flag in (True, False)}
    for flag, part in curves.items():
        assert part["iterations"].tolist() == list(BUDGETS)
        assert part["family"].nunique() == 1, flag
    shared = 3 * np.mean([np.sin(victim) for victim in range(6)])
    assert curves[True]["psnr"].to_numpy() == pytest.approx(
        [INFORMED[budget] + shared for budget in BUDGETS], abs=0.1
    )
    assert np.ptp(curves[False]["psnr"]) < 0.1
    assert drawn.figure is not None
    lines = [panel for panel in drawn.figure.axes if panel.get_title(loc="left") == "TIP"]
    assert len(lines) == 1
    assert [len(bars[0].get_xdata()) for bars in lines[0].containers] == [3, 3]
    assert "informed 12." in drawn.alt


def test_close_budgets_share_a_number_and_an_informed_attack_is_not_called_blind(
    data: StudyData,
) -> None:
    """A learned attack knows the defense without any counter; its budgets are near those of the others."""
    learned = data.scores[data.scores["attack"].str.contains(COUNTER)].copy()
    learned["iterations"] = learned["iterations"] * 1.1 // 1
    learned["attack"] = [f"learned_inversion-iterations{n:.0f}" for n in learned["iterations"]]
    budgets = sorted(set(learned["iterations"].astype(int)))
    items = [
        {"id": f"learned_inversion-iterations{n}", "name": "learned_inversion", "iterations": n}
        for n in budgets
    ]
    both = dataclasses.replace(
        data,
        scores=pd.concat([data.scores, learned], ignore_index=True),
        study=data.study | {"attacks": [*data.study["attacks"], *items]},
    )
    drawn = budget_curves.draw(both)
    assert drawn.figure is not None
    (tip,) = (panel for panel in drawn.figure.axes if panel.get_title(loc="left") == "TIP")
    assert list(tip.get_xticks()) == budgets
    labels = [bars.get_label() for bars in tip.containers]
    assert "Learned inversion, informed" in labels
    assert len({bars[0].get_color() for bars in tip.containers}) == len(labels) == 3


def test_without_a_second_budget_nothing_is_drawn(data: StudyData) -> None:
    single = dataclasses.replace(data, scores=data.scores[data.scores["iterations"].isin([0, 25])])
    drawn = budget_curves.draw(single)
    assert drawn.data.empty
    assert "several budgets" in drawn.caption


def test_the_headline_points_to_budget_curves_only_where_there_are_some(data: StudyData) -> None:
    swept = data.study["attacks"]
    single = [item for item in swept if item["iterations"] == BUDGETS[0]]
    row = {"attack": single[-1]["id"], "role": "adaptive", "verdict": "survives in part"}
    row |= {"because": "an attacker recovers more than the floor"}
    for name in ("to_blind", "to_none"):
        row |= {name: 0.1, f"{name}_low": -0.4, f"{name}_high": 0.6}
    part = pd.DataFrame([row | {"psnr": 9.0}, row | {"role": "worst_case", "psnr": 10.0}])
    for figures, attacks, shown in (
        (["budget_curves"], swept, True),
        (["budget_curves"], single, False),
        ([], swept, False),
    ):
        study = {**data.study, "figures": figures, "attacks": attacks}
        text = sentence(dataclasses.replace(data, study=study), part)
        assert "No informed attack is shown to do better here: drop flagged channels" in text
        assert ("budget curves show how hard we tried" in text) == shown
        assert text.endswith(".")


def test_the_prediction_is_judged_at_both_levels(data: StudyData) -> None:
    drawn = table_tip_cosine.draw(data)
    assert drawn.shown is not None
    informed = drawn.data[drawn.data["role"] == "adaptive"]
    assert len(drawn.shown) == len(informed) == len(BUDGETS)
    assert len(columns(table_tip_cosine, data)) <= 8
    assert informed["explained"].tolist() == [2, 2, 2]
    assert informed["cosine_matched"].tolist() == pytest.approx([0.965] * 3)
    judged = dict(zip(BUDGETS, informed["at_image"], strict=True))
    # Within 3 dB of no defense; a gain that stays below; the cosine is the same for all.
    assert judged == {25: "in part", 75: "in part", 225: "confirmed"}
    assert set(informed["at_gradient"]) == {"confirmed"}
    others = drawn.data[drawn.data["role"] != "adaptive"]
    assert set(others["role"]) == {"no_defense", "non_adaptive"}
    assert others["psnr"].notna().all()


def test_an_attack_that_fails_without_a_defense_shows_nothing(data: StudyData) -> None:
    scores = data.scores.copy()
    scores.loc[scores["kind"] == "control", "psnr"] += 10
    drawn = table_tip_cosine.draw(dataclasses.replace(data, scores=scores))
    informed = drawn.data[drawn.data["role"] == "adaptive"]
    assert set(informed["at_image"]) == {"not shown"}
    assert set(informed["at_gradient"]) == {"confirmed"}


def test_without_explained_victims_the_table_says_what_to_set(data: StudyData) -> None:
    bare = dataclasses.replace(data, scores=data.scores.drop(columns=table_tip_cosine.LEVEL))
    assert "set `explained`" in table_tip_cosine.draw(bare).caption


def test_a_learned_attacker_is_adaptive_without_a_counter_and_counts_for_the_worst_case(
    data: StudyData,
) -> None:
    """It answers every defense by one name, and here it is stronger on TIP than the counter, and weaker on nothing."""
    with_counter = data.scores[
        data.scores["attack"] == f"inverting_gradients-{COUNTER}-iterations225"
    ]
    learned = with_counter.assign(attack="learned_inversion", psnr=with_counter["psnr"] + 2)
    bare = learned.assign(defense="none", psnr=learned["psnr"] - 8)
    attacks = [*data.study["attacks"], {"id": "learned_inversion", "name": "learned_inversion"}]
    study = dataclasses.replace(
        data,
        scores=pd.concat([data.scores, learned, bare], ignore_index=True),
        study={**data.study, "attacks": attacks},
    )
    drawn = table_headline.draw(study)
    attackers = drawn.data.drop_duplicates(["defense", "role"]).set_index(["defense", "role"])[
        "attack"
    ]
    assert attackers["tip", "worst_case"] == "learned_inversion"
    assert attackers["tip", "non_adaptive"].startswith("inverting_gradients-iterations")
    assert attackers["none", "worst_case"].startswith("inverting_gradients-iterations")
    assert drawn.shown is not None
    named = drawn.shown.set_index("Defense").loc["TIP"]
    assert named["Worst case"].startswith("Learned inversion: ")
    assert "Knowing it adds" in named["Verdict"]
    assert "(Learned inversion)" in named["Verdict"]


def test_budgets_belong_together_wherever_their_attacks_apply(made_up_study: StudyData) -> None:
    attack = {"name": "idlg", "parameters": {}, "counters": []}
    few = {**attack, "id": "few", "iterations": 25, "only": [{"defense": ["none"]}]}
    many = {**attack, "id": "many", "iterations": 75, "only": []}
    study = {**made_up_study.study, "attacks": [few, many]}
    family_of = budget_curves.families(dataclasses.replace(made_up_study, study=study))
    assert family_of["few"] == family_of["many"]
