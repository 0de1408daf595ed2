"""Epsilon in the rows of DP-SGD: accounted, empirical, and a planted account that is too small."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from gradsiege.defenses.base import Client
from gradsiege.defenses.dp_sgd import DpSgd, clipped_sum, epsilon, per_sample_gradients
from gradsiege.inspection import verify
from gradsiege.protocol.local_update import Step, Tensors
from gradsiege.report.data import StudyData
from gradsiege.report.equality import accuracies
from gradsiege.report.load import load_study
from gradsiege.report.privacy_account import COLUMNS, account_of, defects, privacy_account
from gradsiege.report.tables import table_headline
from gradsiege.study import Study

PLACE = ("photos", "convnet", "loud")


def identified(data: StudyData, noise: float, named: int, **changes: Any) -> StudyData:
    """The made-up study with a DP-SGD of this noise, of whose 8 victims some are named among the victims."""
    late = data.scores.query("dataset == 'photos' and training_stage == 'late'")
    same = late.query("defense == 'tip' and attack == 'inverting_gradients'")
    ranks = [1.0] * named + [2.0] * (len(same) - named)
    rows = same.assign(
        defense="loud",
        kind="identification",
        attack="identification",
        threat_model="gallery",
        candidate_rank_among_victims=ranks,
    )
    rows = rows.assign(**changes.pop("rows", {}))
    attacked = same.assign(defense="loud")
    defense = {"id": "loud", "name": "dp_sgd", "parameters": {"noise_multiplier": noise}}
    study = {**data.study, "defenses": [*data.study["defenses"], defense], **changes}
    trained = data.utility.query("dataset == 'photos' and defense == 'tip'")
    return dataclasses.replace(
        data,
        scores=pd.concat([late, attacked, rows], ignore_index=True),
        utility=pd.concat([data.utility, trained.assign(defense="loud")], ignore_index=True),
        study=study,
        threat_models=[
            *data.threat_models,
            {"id": "gallery", "labels": "inferred", "candidates": True},
            {"id": "told", "labels": "given", "candidates": True},
        ],
    )


def test_an_account_that_identification_refutes_is_a_defect(made_up_study: StudyData) -> None:
    """Eight of eight victims named prove 2.5; under substitution noise 20 accounts for less, and noise 1 for more."""
    for noise, sound in ((20.0, 0.0), (1.0, 1.0)):
        data = identified(made_up_study, noise, 8)
        row = privacy_account(data, *PLACE)
        assert row["epsilon"] == epsilon(noise, 1.0, 1, 1e-5)
        assert row["epsilon_substitution"] == epsilon(noise / 2, 1.0, 1, 1e-5)
        assert math.isinf(row["epsilon_empirical"])
        assert row["epsilon_empirical_low"] == pytest.approx(2.48, abs=0.01)
        assert row["epsilon_empirical_n"] == 8
        assert row["epsilon_sound"] == sound
        sentences = defects(data)
        assert len(sentences) == (sound == 0)
        if sentences:
            assert (
                "photos/convnet/loud: identification proves an epsilon of at least 2.48"
                in sentences[0]
            )
        shown = table_headline.draw(data).shown
        assert shown is not None
        (name,) = [line for line in shown["Defense"] if "ε" in line]
        assert ("the account is wrong" in name) == (sound == 0)
        assert "empirically ∞ [2.5, ∞]" in name


def test_a_lower_success_proves_less_and_nothing_wrong(made_up_study: StudyData) -> None:
    row = privacy_account(identified(made_up_study, 20.0, 1), *PLACE)
    assert row["epsilon_empirical_low"] == 0
    assert row["epsilon_sound"] == 1


def test_an_attacker_who_was_told_more_than_the_message_does_not_count(
    made_up_study: StudyData,
) -> None:
    row = privacy_account(identified(made_up_study, 20.0, 8, rows={"threat_model": "told"}), *PLACE)
    assert math.isnan(row["epsilon_sound"])
    assert math.isnan(row["epsilon_empirical"])
    assert not math.isnan(row["epsilon"])


def test_a_defense_without_an_account_has_no_epsilon(made_up_study: StudyData) -> None:
    data = identified(made_up_study, 1.0, 8)
    assert account_of(data, "tip") is None
    table = accuracies(data)
    assert set(COLUMNS) <= set(table)
    assert table.query("defense == 'tip'")[COLUMNS].isna().all(axis=None)
    assert table.query("defense == 'loud'")["epsilon_sound"].tolist() == [1.0]


def test_several_steps_and_batches_are_accounted_for_without_sampling(
    made_up_study: StudyData,
) -> None:
    protocols = [{"id": "p", "images": 8, "batch_size": 2, "epochs": 3, "rounds": 2}]
    account = account_of(identified(made_up_study, 2.0, 8, protocols=protocols), "loud")
    assert account is not None
    assert account.added == {"p": epsilon(2.0, 0.25, 24, 1e-5)}
    assert account.replaced == {"p": epsilon(1.0, 1.0, 24, 1e-5)}
    assert account.replaced["p"] > account.added["p"]


def without_noise(self: DpSgd, gradient: Tensors, step: Step, client: Client) -> Tensors:
    """DP-SGD with a defect: it clips, states its noise, and adds none."""
    gradients = per_sample_gradients(step, step.images, step.labels)
    clipped = clipped_sum(gradients, self.bound)
    return {name: value / len(step.images) for name, value in clipped.items()}


@pytest.mark.parametrize("broken", [True, False])
def test_verify_names_a_mechanism_that_adds_less_noise_than_it_states(
    broken: bool,
    tiny_raw: dict[str, Any],
    tmp_path: Path,
    run_study: Callable[..., Study],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if broken:
        monkeypatch.setattr(DpSgd, "transform_gradient", without_noise)
    tiny_raw["victims"] = 8
    tiny_raw["datasets"][0]["counts"]["victims"] = 8
    tiny_raw["defenses"] = [
        {"name": "dp_sgd", "parameters": {"noise_multiplier": 20.0, "bound": 0.01}}
    ]
    tiny_raw["training_stages"] = ["untrained"]
    tiny_raw["threat_models"] = [{"id": "gallery", "candidates": True}]
    tiny_raw["attacks"] = [{"name": "identification", "iterations": 1}]
    tiny_raw["priors"], tiny_raw["figures"] = [], ["table_compute"]
    torch.manual_seed(0)
    study = run_study(tiny_raw, tmp_path)
    report, sound = verify(study, tmp_path)
    assert sound, "the files are as they were made"
    assert ("defect" in report) == broken
    assert ("identification proves an epsilon of at least" in report) == broken
    assert len(defects(load_study(study, tmp_path))) == broken
