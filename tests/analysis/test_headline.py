"""Planted leaks: which protection survives is known, and ranks, pairs and margins are those of the definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from gradsiege.analysis.headline import headline
from gradsiege.analysis.summary import summarise

VICTIMS, GALLERY = 12, 500
# Mean PSNR and share of identified victims by defense: of the blind attack, and of informed ones by name.
PLANTED: dict[str, dict[str, tuple[float, float]]] = {
    "none": {"blind": (28.0, 1.0)},
    "broken": {"blind": (12.0, 0.0), "broken.undo": (27.6, 1.0), "broken.guess": (11.0, 0.0)},
    "partial": {"blind": (20.0, 0.5), "partial.try": (20.0, 0.5)},
    "strong": {"blind": (9.0, 0.0), "strong.try": (9.5, 0.0)},
    "named": {"blind": (9.0, 0.75), "named.try": (9.0, 0.75)},
    "unmet": {"blind": (9.0, 0.0)},
    "costly": {"blind": (9.0, 0.0), "costly.try": (9.0, 0.0)},
}
ACCURACY = dict.fromkeys(PLANTED, 0.6) | {"none": 0.62, "costly": 0.40}
WANTED = {
    "none": "baseline",
    "broken": "does not survive",
    "partial": "survives in part",
    "strong": "survives",
    "named": "survives in part",
    "unmet": "untested",
    "costly": "survives",
}


def _rows(defense: str, attack: str, mean: float, share: float) -> list[dict[str, Any]]:
    rng = np.random.default_rng([len(defense), len(attack)])
    control = attack == "control"
    informed = "." in attack
    return [
        {
            "dataset": "photos",
            "model": "convnet",
            "defense": defense,
            "training_stage": "untrained",
            "protocol": "fedsgd",
            "threat_model": "" if control else "informed" if informed else "strict",
            "attack": attack,
            "kind": "control" if control else "attack",
            "seed": 0,
            "victim": victim,
            "image": 0,
            "status": "complete",
            # What victims have in common is far larger than any difference: only pairs can show one.
            "psnr": mean + 5 * np.sin(victim) + rng.normal(0, 0.2),
            "identified": victim < share * VICTIMS,
            "gallery_size": GALLERY,
        }
        for victim in range(VICTIMS)
    ]


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    rows = []
    for defense, attacks in PLANTED.items():
        for attack, (mean, share) in {**attacks, "control": (15.0, 0.0)}.items():
            rows += _rows(defense, attack, mean, share)
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def table(scores: pd.DataFrame) -> pd.DataFrame:
    changes = pd.DataFrame(
        [
            {"dataset": "photos", "model": "convnet", "defense": name, "accuracy": value}
            for name, value in ACCURACY.items()
        ]
    )
    changes["change"] = changes["accuracy"] - ACCURACY["none"]
    return headline(summarise(scores, resamples=200), scores, changes, {"none"}, {"informed"})


def test_verdicts_are_those_that_were_planted(table: pd.DataFrame) -> None:
    found = table.drop_duplicates("defense").set_index("defense")["verdict"]
    assert found.to_dict() == WANTED


def test_only_equal_accuracy_is_ranked_and_by_the_worst_case(table: pd.DataFrame) -> None:
    settings = table.drop_duplicates("defense").set_index("defense")
    assert list(settings.index[-1:]) == ["costly"]
    assert not settings.loc["costly", "comparable"]
    assert np.isnan(settings.loc["costly", "rank"])
    assert settings["rank"].dropna().tolist() == [1, 2, 3, 4, 5, 6]
    assert settings["rank"].idxmax() == "none"
    assert settings.loc["broken", "rank"] > settings.loc["partial", "rank"]


def test_the_worst_case_is_the_informed_attack_where_it_is_stronger(table: pd.DataFrame) -> None:
    worst = table[table["role"] == "worst_case"].set_index("defense")["attack"]
    assert worst["broken"] == "broken.undo"
    assert worst["none"] == worst["unmet"] == "blind"
    informed = table[(table["role"] == "adaptive") & (table["defense"] == "broken")]
    assert informed["attack"].tolist() == ["broken.undo", "broken.guess"]


def test_differences_are_paired_by_victim(table: pd.DataFrame, scores: pd.DataFrame) -> None:
    row = table[(table["defense"] == "broken") & (table["attack"] == "broken.undo")].iloc[0]
    own = scores[(scores["defense"] == "broken") & (scores["attack"] == "broken.undo")]
    bare = scores[(scores["defense"] == "none") & (scores["attack"] == "blind")]
    difference = own["psnr"].to_numpy() - bare["psnr"].to_numpy()
    assert row["to_none"] == pytest.approx(difference.mean())
    # Unpaired, the spread of 5 dB over victims would make this an interval of several dB.
    assert row["to_none_high"] - row["to_none_low"] < 0.6
    assert row["to_blind_low"] > 14


def test_without_an_attack_on_no_defense_a_leak_is_not_judged(scores: pd.DataFrame) -> None:
    rest = scores[scores["defense"] != "none"]
    changes = pd.DataFrame(columns=["dataset", "model", "defense", "accuracy", "change"])
    found = headline(summarise(rest, resamples=200), rest, changes, set(), {"informed"})
    judged = found.drop_duplicates("defense").set_index("defense")
    assert judged.loc["broken", "verdict"] == ""
    assert judged.loc["strong", "verdict"] == "survives"
    assert not judged["comparable"].any()
