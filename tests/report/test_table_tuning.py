"""The table of chosen settings: each choice once, with all its trials in the data."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from narrow import MOST_COLUMNS, columns

from gradsiege.analysis.claims.selection import agrees
from gradsiege.report.data import StudyData
from gradsiege.report.load import load_study
from gradsiege.report.tables import table_tuning
from gradsiege.report.tidy import tidy
from gradsiege.study import parse


def attacked(defense: str, identity: str, scores: list[float], attack: str) -> dict[str, Any]:
    trials = [
        {"settings": {"learning_rate": 0.1 * (place + 1)}, "psnr": score}
        for place, score in enumerate(scores)
    ]
    record = {
        "identity": identity,
        "clients": 4,
        "trials": trials,
        "chosen": scores.index(max(scores)),
    }
    cell = f"photos/convnet/{defense}/untrained/fedsgd/seed0/labels_inferred/{attack}"
    return {"stage": "attack", "cell": cell, "tuning": record}


@pytest.fixture
def chosen(made_up_study: StudyData) -> StudyData:
    blind = [20.0, 23.5, 22.0]
    jobs = [
        attacked("none", "a" * 64, blind, "inverting_gradients"),
        attacked("tip", "a" * 64, blind, "inverting_gradients"),
        attacked("tip", "b" * 64, [18.0, 12.0, 12.0], "gi_pip"),
        {"stage": "attack", "cell": "x", "tuning": None},
        {"stage": "score", "cell": "y"},
    ]
    return dataclasses.replace(made_up_study, manifests=jobs)


def test_a_choice_stands_once_with_its_gain(chosen: StudyData) -> None:
    drawn = table_tuning.draw(chosen)
    assert drawn.shown is not None
    first, second = drawn.shown.to_dict("records")
    assert first["Defenses"] == "No defense and TIP"
    assert (first["Chosen"], first["As it stands [dB]"], first["Gain [dB]"]) == (
        "learning_rate 0.2",
        "20.0",
        "3.5",
    )
    assert (second["Attack"], second["Defenses"], second["Gain [dB]"]) == ("GI-PIP", "TIP", "0.0")
    assert "Each attack tried 3 settings" in drawn.caption
    assert len(columns(table_tuning, chosen)) <= MOST_COLUMNS


def test_the_data_hold_every_trial(chosen: StudyData) -> None:
    long = tidy(table_tuning.draw(chosen).data)
    psnr = long[long["quantity"] == "trial_psnr"]
    assert psnr["value"].tolist() == [20.0, 23.5, 22.0] * 2 + [18.0, 12.0, 12.0]
    assert psnr["n"].tolist() == [4] * 9
    assert long[long["quantity"] == "settings"]["text"].iloc[1] == "learning_rate 0.2"
    assert long[long["quantity"] == "chosen"]["value"].tolist() == [0, 1, 0, 0, 1, 0, 1, 0, 0]


def test_a_study_without_choices_says_so(made_up_study: StudyData) -> None:
    drawn = table_tuning.draw(made_up_study)
    assert drawn.data.empty
    assert "no key `tuning`" in drawn.caption


def test_a_chosen_parameter_is_not_taken_for_its_default(tmp_path: Path) -> None:
    """A claim about the published weights, which are GI-PIP's defaults, does not mean an attack that chooses them."""
    raw = fresh_study()
    published = load_study(parse(raw), tmp_path).study
    raw["tuning"] = {}
    chosen = load_study(parse(raw), tmp_path).study
    wanted = {"name": "gi_pip", "parameters": {"total_variation": None, "anomaly_score": None}}
    assert agrees(published["attacks"][0], wanted)
    assert not agrees(chosen["attacks"][0], wanted)
    assert chosen["attacks"][0]["parameters"] == {
        "total_variation": "chosen",
        "anomaly_score": "chosen",
        "learning_rate": 0.2,
    }


def fresh_study() -> dict[str, Any]:
    counts = {"train": 48, "test": 20, "aux": 40, "public": 10, "tune": 2, "victims": 8}
    attack = {
        "name": "gi_pip",
        "iterations": 5,
        "prior": "pca",
        "parameters": {"learning_rate": 0.2},
    }
    return {
        "study": "tiny",
        "datasets": [{"name": "digits", "size": 16, "counts": counts}],
        "models": ["lenet"],
        "defenses": ["none"],
        "protocols": ["fedsgd"],
        "threat_models": [{"id": "blind"}],
        "priors": ["pca"],
        "attacks": [attack],
    }
