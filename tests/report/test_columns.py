"""The column dictionary: every column and quantity of every figure and table has an entry, and every entry a use."""

from __future__ import annotations

import dataclasses
import importlib
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gradsiege import catalogue
from gradsiege.report.columns import IDENTIFIERS, MEASUREMENT, QUANTITIES, dictionary
from gradsiege.report.data import StudyData
from gradsiege.report.tidy import tidy
from gradsiege.study.ledger import FILE, load

NAMES = sorted(catalogue.entries("figures"))


def _scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Every metric, stages of a search, two budgets, two batches, an informed attacker, one told more, and a bound."""
    photos = scores[scores["dataset"] == "photos"]
    done = photos["status"].eq("complete")
    values = {"lpips": 0.3, "lpips_vgg": 0.4, "rank_lpips": 2.0, "restarts": 2.0}
    photos = photos.assign(**{name: done.map({True: value}) for name, value in values.items()})
    stepped = photos["attack"] == "inverting_gradients"
    for name, steps in (("psnr_by_stage", [9.0, 12.0]), ("matching_loss_by_stage", [0.2, 0.1])):
        photos[name] = pd.Series([np.array(steps)] * len(photos), photos.index).where(stepped)
    photos["psnr_last_stage"], photos["psnr_best_stage"] = 12.0, 13.0
    attacks = photos[photos["kind"] == "attack"]
    bare, tip = (attacks[attacks["defense"] == name] for name in ("none", "tip"))
    cosines = {"cosine_received": 0.1, "cosine_matched": 0.95, "energy_kept": 0.9}
    informed = tip.assign(threat_model="informed", detection_auc=1.0, **cosines)
    told = bare.assign(threat_model="told")
    short = attacks[attacks["attack"] == "gi_pip"].assign(attack="gi_pip-short", iterations=25)
    four = bare[bare["training_stage"] == "untrained"].assign(protocol="four")
    switched = tip.assign(defense="tip-first")
    bound = tip[tip["attack"] == "gi_pip"].assign(attack="perfect_inversion", kind="bound")
    lost = photos["attack"].eq("gi_pip") & photos["defense"].eq("tip")
    photos.loc[lost, "status"], photos.loc[lost, "reason"] = "failed", "NaN in the matching loss"
    noised = tip.assign(defense="dp_sgd-loud", candidate_rank_among_victims=1.0)
    parts = [photos, informed, told, short, four, switched, noised, bound.assign(threat_model="")]
    table = pd.concat(parts, ignore_index=True)
    return table.assign(scene=table["victim"] // 2)


def _study(study: dict[str, Any]) -> dict[str, Any]:
    """The settings behind these scores, and defenses that the tables of switches and of noise ask for."""
    score = {"name": "gi_pip", "parameters": {"anomaly_score": 1.0}, "prior": "whole"}
    more = [
        ("tip-first", "tip", {"first_sample_only": True}),
        ("tip-quiet", "tip", {"noise_norm": 0}),
    ]
    more += [("agp", "agp", {}), ("tip_dp", "tip_dp", {})]
    more += [(f"dp_sgd-{i}", "dp_sgd", {"noise_multiplier": n}) for i, n in DP_SGD.items()]
    defenses = [
        {**item, "parameters": {"sigma": float(sigma)} if sigma else {}}
        for item in study["defenses"]
        for sigma in [item["id"].partition("sigma")[2]]
    ]
    return study | {
        "attacks": [
            {"id": "inverting_gradients", "name": "inverting_gradients", "iterations": 300},
            {"id": "gi_pip", "iterations": 300, **score},
            {"id": "gi_pip-short", "iterations": 25, **score},
        ],
        "federation": {"rounds": 40, "early_round": 2},
        "defenses": defenses + [{"id": i, "name": n, "parameters": p} for i, n, p in more],
        "protocols": [*study["protocols"], {"id": "four", "name": "fedsgd", "images": 4}],
        "priors": [{"id": "whole", "name": "autoencoder", "parameters": {}}],
        "gains": [{"idea": "the score", "attack": "gi_pip", "against": "inverting_gradients"}],
        "threat_models": [*study["threat_models"], *THREATS],
    }  # fmt: skip


DP_SGD = {"loud": 1.0, "clipping": 0.0}
THREATS = [
    {"id": "informed", "labels": "inferred", "disclosure": True},
    {"id": "told", "labels": "given", "batch_statistics": True},
]


@pytest.fixture(scope="module")
def files(made_up_study: StudyData) -> dict[str, pd.DataFrame]:
    """The measurements of every figure and table of a study that holds a case of each."""
    utility = made_up_study.utility.query("dataset == 'photos'")
    tip = utility[utility["defense"] == "tip"]
    others = [
        tip.assign(defense=name)
        for name in ("tip-first", "tip-quiet", "agp", "tip_dp", *(f"dp_sgd-{i}" for i in DP_SGD))
    ]
    data = dataclasses.replace(
        made_up_study,
        scores=_scores(made_up_study.scores),
        utility=pd.concat([utility, *others], ignore_index=True),
        study=_study(dict(made_up_study.study)),
        threat_models=[*made_up_study.threat_models, *THREATS],
        manifests=[*made_up_study.manifests, _measured_job()],
        claims=load(Path(__file__).parents[2] / FILE),
    )
    modules = {name: catalogue.entries("figures")[name].module for name in NAMES}
    return {name: tidy(importlib.import_module(modules[name]).draw(data).data) for name in NAMES}


def _measured_job() -> dict[str, Any]:
    key = "photos/convnet/none/late/fedsgd/seed0/labels_inferred/gi_pip"
    trials = [{"settings": {"learning_rate": rate}, "psnr": 100 * rate} for rate in (0.1, 0.2)]
    tuning = {"identity": "0" * 64, "clients": 4, "chosen": 1, "trials": trials}
    job = {"stage": "attack", "cell": key, "seconds": 1.0, "status": "complete", "memory": 700.0}
    return {**job, "tuning": tuning}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_has_no_column_of_its_own_and_each_measurement_once(
    files: dict[str, pd.DataFrame], name: str
) -> None:
    table = files[name]
    assert len(table), "the study above holds a case of everything"
    ids = [column for column in table if column in IDENTIFIERS]
    assert [*table] == [*ids, *MEASUREMENT]
    assert set(table["quantity"]) <= set(QUANTITIES)
    assert not table.duplicated([*ids, "quantity"]).any()


def test_every_entry_is_used(files: dict[str, pd.DataFrame]) -> None:
    used = {name for table in files.values() for name in table["quantity"]}
    used |= {name for table in files.values() for name in table if table[name].notna().any()}
    assert sorted({*IDENTIFIERS, *QUANTITIES, *MEASUREMENT} - used) == []


def test_shares_lie_in_their_range(files: dict[str, pd.DataFrame]) -> None:
    checked = count()
    for table in files.values():
        for name, about in QUANTITIES.items():
            if about.values.startswith("0 to 1"):
                values = table.loc[table["quantity"] == name, ["value", "low", "high"]]
                assert ((values >= 0) & (values <= 1) | values.isna()).all(axis=None), name
                next(checked)
    assert next(checked) > 100


def test_a_count_that_a_quantity_rests_on_is_a_quantity_and_its_identifiers_exist() -> None:
    for name, about in QUANTITIES.items():
        assert not about.n or about.n in QUANTITIES, name
        assert about.of <= set(IDENTIFIERS), name
        assert about.unit, name


def test_the_dictionary_names_everything_once() -> None:
    names = [row[0] for row in dictionary()]
    assert len(names) == len(set(names))
    assert all(len(row[2]) > 10 for row in dictionary())
