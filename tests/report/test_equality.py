"""Equal accuracy and epsilon by setting, scenes of victims, and what a study can detect, on made-up studies."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from gradsiege import artifacts
from gradsiege.defenses.dp_sgd import epsilon
from gradsiege.images import IMAGES
from gradsiege.pipeline.cells import cells
from gradsiege.report.data import StudyData
from gradsiege.report.equality import accuracies
from gradsiege.report.scenes import with_scenes
from gradsiege.report.tables import table_power
from gradsiege.study import Study

DP = {"bound": 1.0, "noise_multiplier": 1.0}


def utility(defense: str, mean: float, seeds: int) -> list[dict[str, Any]]:
    """Trainings that differ by 10 points between seeds, and by `mean` between defenses."""
    ids = {"dataset": "photos", "model": "convnet", "defense": defense, "status": "complete"}
    return [
        ids
        | {"seed": seed, "round": turn, "accuracy": mean + 0.01 * seed + 0.001 * turn * (seed % 3)}
        for seed in range(seeds)
        for turn in range(5)
    ]


def study(seeds: int, *, clipping: bool = True) -> StudyData:
    defenses = [
        {"id": "none", "name": "none"},
        {"id": "loud", "name": "dp_sgd", "parameters": DP},
        {"id": "tip", "name": "tip", "parameters": {"ratio": 0.1}},
        {"id": "agp", "name": "agp"},
    ]
    rows = utility("none", 0.5, seeds) + utility("tip", 0.49, seeds) + utility("agp", 0.3, seeds)
    rows += utility("loud", 0.48, seeds)
    if clipping:
        defenses.append(
            {"id": "clip", "name": "dp_sgd", "parameters": {**DP, "noise_multiplier": 0.0}}
        )
        rows += utility("clip", 0.49, seeds)
    protocols = [{"id": "fedsgd", "images": 1, "batch_size": 1, "epochs": 1, "rounds": 1}]
    return StudyData(
        pd.DataFrame(), pd.DataFrame(rows), study={"defenses": defenses, "protocols": protocols}
    )


def test_equality_is_shown_with_ten_seeds_and_unknown_with_nine() -> None:
    ten = accuracies(study(10)).set_index("defense")
    assert ten["comparable"].to_dict() == {"none": 1, "tip": 1, "agp": 0, "loud": 1, "clip": 1}
    assert ten.loc["tip", "accuracy_change"] == pytest.approx(-0.01)
    assert ten.loc["loud", "clipping_change"] == pytest.approx(-0.01)
    nine = accuracies(study(9)).set_index("defense")["comparable"]
    assert nine["none"] == 1
    assert nine.drop("none").isna().all()


def test_noise_without_its_clipping_beside_it_is_not_comparable() -> None:
    table = accuracies(study(10, clipping=False)).set_index("defense")
    assert np.isnan(table.loc["loud", "comparable"])
    assert table.loc["tip", "comparable"] == 1


def test_epsilon_is_that_of_the_accountant_at_the_stated_delta() -> None:
    table = accuracies(study(2)).set_index("defense")
    assert table.loc["loud", "epsilon"] == epsilon(1.0, 1.0, 1, 1e-5)
    assert table.loc["loud", "epsilon"] == pytest.approx(4.7, abs=0.1)
    assert table.loc["loud", "delta"] == 1e-5
    assert np.isinf(table.loc["clip", "epsilon"])
    assert table.loc[["none", "tip"], "epsilon"].isna().all()


def test_scenes_are_those_of_the_prepared_victims(tiny: Study, tmp_path: Path) -> None:
    (fetch,) = cells(tiny)["fetch"]
    folder = fetch.folder(tiny, tmp_path)
    folder.mkdir(parents=True)
    count = 64
    tensors = {
        "images": torch.zeros(count, 1, 1, 1),
        "labels": torch.arange(count) % 2,
        "groups": torch.arange(count) // 3,
    }
    artifacts.write_tensors(folder / "victims.safetensors", tensors, IMAGES, {"classes": []})
    artifacts.write_manifest(folder, {"digest": "d"}, ["victims.safetensors"])
    protocol = tiny.protocols[0]
    rows = [
        {"dataset": fetch.dataset, "protocol": protocol.id, "victim": victim, "image": image}
        for victim in range(tiny.victims)
        for image in range(protocol.images)
    ]
    scores = with_scenes(pd.DataFrame(rows), [fetch], tiny, tmp_path)
    order = np.arange(tiny.victims * protocol.images)
    assert scores["scene"].tolist() == (order // 3).tolist()
    unknown = with_scenes(pd.DataFrame(rows), [], tiny, tmp_path)
    assert unknown["scene"].isna().all()


def test_power_is_stated_before_a_run_and_falls_with_scenes(empty_study: StudyData) -> None:
    before = table_power.planned(empty_study).iloc[0]
    assert (before["victims"], before["spread"]) == (8, table_power.STATED_SPREAD)
    assert np.isnan(before["scenes"])
    assert before["detectable"] == before["detectable_at_worst"], "every victim counts as a scene"


def test_power_counts_scenes_and_comparisons(made_up_study: StudyData) -> None:
    scores = made_up_study.scores
    known = dataclasses.replace(made_up_study, scores=scores.assign(scene=scores["victim"] // 2))
    planned = {
        f"photos/convnet/{defense}/late/fedsgd/seed0/strict/{attack}"
        for defense in ("none", "tip", "gaussian-sigma0.1")
        for attack in ("gi_pip", "inverting_gradients")
    }
    few = table_power.planned(known).iloc[0]
    many = table_power.planned(dataclasses.replace(known, planned=frozenset(planned))).iloc[0]
    assert (few["scenes"], few["comparisons"], many["comparisons"]) == (4, 1, 4)
    assert few["detectable"] < few["detectable_at_worst"] < many["detectable_at_worst"]
    assert many["least_holm"] == 4 * 2.0**-3
    assert few["undetected"] == pytest.approx(1 - 0.05**0.25)
