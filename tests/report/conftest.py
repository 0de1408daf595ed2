"""A made-up study: invented scores, accuracies and pictures; no attack or training ever ran."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gradsiege.report.data import LazyPictures, StudyData

VICTIMS, SIZE, ROUNDS, GALLERY = 8, 24, 6, 108
DATASETS = {"photos": 3, "phantom": 1}
DEFENSES = {"none": 0.0, "gaussian-sigma0.01": 4.0, "gaussian-sigma0.1": 13.0, "tip": 6.0}
STAGES = {"untrained": 0.0, "late": 6.0}
ATTACKS = {"inverting_gradients": 27.0, "gi_pip": 24.5}
CONTROLS = {
    "control_random": 8.0,
    "control_class_mean": 12.5,
    "control_aux_draw": 10.0,
    "control_nearest_aux": 15.0,
}
ACCURACY = {"none": 0.71, "gaussian-sigma0.01": 0.69, "gaussian-sigma0.1": 0.52, "tip": 0.7}


def _score_row(rng: np.random.Generator, cell: dict[str, Any], victim: int) -> dict[str, Any]:
    control = cell["attack"].startswith("control_")
    base = CONTROLS[cell["attack"]] if control else ATTACKS[cell["attack"]]
    weaker = 0.0 if control else DEFENSES[cell["defense"]] + STAGES[cell["training_stage"]]
    psnr = max(7.0, base - weaker + 2.0 * np.sin(victim) + rng.normal(0, 1.0))
    hit = bool(rng.random() < np.clip((psnr - 10) / 14, 0.01, 0.99)) and not control
    failed = cell["attack"] == "gi_pip" and cell["defense"] == "tip" and victim == 2
    return {
        "study": "made_up",
        **cell,
        "seed": 0,
        "threat_model": "" if control else "labels_inferred",
        "kind": "control" if control else "attack",
        "victim": victim,
        "image": 0,
        "label": victim % 4,
        "status": "failed" if failed else "complete",
        "reason": "NaN in the matching loss" if failed else "",
        "matching_loss": float("nan") if control else float(rng.random()),
        "mse": float("nan") if failed else 10 ** (-psnr / 10),
        "psnr": float("nan") if failed else psnr,
        "ssim": float("nan") if failed else float(np.clip((psnr - 6) / 26, 0, 1)),
        "ms_ssim": float("nan"),
        "haarpsi": float("nan") if failed else float(np.clip((psnr - 5) / 30, 0, 1)),
        "lpips": float("nan"),
        "rank": 1 if hit else int(rng.integers(2, GALLERY)),
        "gallery_size": GALLERY,
        "identified": hit and not failed,
        "label_accuracy": float("nan") if control else float(victim % 3 > 0),
        "iterations": 0 if control else 300,
        "evaluations": 0 if control else 301,
        "seconds": 0.0 if control else 41.5,
    }


def made_up_scores() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for dataset, defense, stage in product(DATASETS, DEFENSES, STAGES):
        if dataset == "phantom" and defense == "gaussian-sigma0.1":
            continue  # a hole, as when a cell was not run
        for attack, victim in product([*CONTROLS, *ATTACKS], range(VICTIMS)):
            cell = {"dataset": dataset, "model": "convnet", "defense": defense}
            cell |= {"training_stage": stage, "protocol": "fedsgd", "attack": attack}
            rows.append(_score_row(rng, cell, victim))
    return pd.DataFrame(rows)


def made_up_utility(seeds: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = []
    for dataset, defense, seed in product(DATASETS, DEFENSES, range(seeds)):
        for turn in range(ROUNDS + 1):
            accuracy = ACCURACY[defense] * (1 - np.exp(-0.6 * turn)) + 0.1 * np.exp(-turn)
            cell = {"study": "made_up", "dataset": dataset, "model": "convnet", "defense": defense}
            numbers = {"accuracy": accuracy + rng.normal(0, 0.012), "macro_f1": accuracy}
            rest = {"seed": seed, "round": turn, "loss": 2 - accuracy, "status": "complete"}
            numbers["micro_f1"] = numbers["accuracy"]
            nothing = float("nan")
            rest |= {"seconds": 2.5 + 0.1 * seed, "peak_memory": 700.0 + turn}
            rest |= {"seconds": nothing, "peak_memory": nothing} if turn == 0 else {}
            rows.append(cell | numbers | rest)
    return pd.DataFrame(rows)


def _load_pictures(key: str) -> dict[str, np.ndarray]:
    """Smooth colour fields as originals, the same with noise as 'reconstructions'."""
    dataset, _, defense, stage, _, _ = key.split("/")
    channels = DATASETS[dataset]
    rng = np.random.default_rng(len(key))
    across = np.linspace(0, 3, SIZE)
    phase = rng.uniform(0, 6, (VICTIMS, channels, 1, 1))
    truth = 128 + 100 * np.sin(phase + across[:, None] * (1 + phase / 6) + across[None, :])
    noise = dict.fromkeys(CONTROLS, 90.0)
    noise |= dict.fromkeys(ATTACKS, 20.0 + 6 * (DEFENSES[defense] + STAGES[stage]))
    pictures = {"truth": truth}
    pictures |= {name: truth + rng.normal(0, level, truth.shape) for name, level in noise.items()}
    return {name: np.clip(images, 0, 255).astype(np.uint8) for name, images in pictures.items()}


def _study() -> dict[str, Any]:
    return {
        "study": "made_up",
        "description": "A made-up study for the tests: every number in it is invented.",
        "victims": VICTIMS,
        "datasets": [{"id": name, "name": name, "size": SIZE} for name in DATASETS],
        "models": [{"id": "convnet", "name": "convnet"}],
        "defenses": [{"id": name, "name": name.split("-")[0]} for name in DEFENSES],
        "training_stages": list(STAGES),
        "protocols": [{"id": "fedsgd", "name": "fedsgd", "images": 1}],
        "attacks": [
            {"id": name, "name": name.partition("-")[0], "iterations": 300} for name in ATTACKS
        ],
        "threat_models": _threat_models(),
    }


def _threat_models() -> list[dict[str, Any]]:
    known = {"labels": "inferred", "protocol": True, "disclosure": False, "auxiliary": True}
    return [{"id": "labels_inferred", **known}]


def _card(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "version": 1,
        "size": SIZE,
        "synthetic": name == "phantom",
        "description": f"Made-up card of {name}.",
        "sources": [{"name": name, "origin": "nowhere", "licence": "CC0-1.0", "sha256": "0" * 64}],
        "splitting_rule": "Nothing was split.",
        "limits": "Made up.",
        "classes": ["a", "b"],
        "counts": {"train": {"a": 5, "b": 7}, "victims": {"a": 4, "b": 4}},
        "sha256": {"train": "1" * 64},
    }


def _manifests() -> list[dict[str, Any]]:
    versions = {"python": "3.11.0", "torch": "2.0.0", "numpy": "2.0.0"}
    environment = {"versions": versions, "device": "CPU (made up)", "commit": "0123456789ab"}
    jobs = [("fetch", 1.5), ("federate", 40.0), ("attack", 83.0), ("attack", 81.0), ("score", 2.2)]
    rows: list[dict[str, Any]] = [
        {"stage": stage, "cell": "photos/…", "seconds": seconds, "status": "complete", "reason": ""}
        | {"environment": environment, "notes": {}}
        for stage, seconds in jobs
    ]
    rows[3] |= {"status": "failed", "reason": "victim 2: NaN in the matching loss"}
    rows[4]["notes"] = {"absent": {"lpips": "trunk weights not found"}}
    return rows


def _explanation(key: str) -> dict[str, np.ndarray]:
    """Two victims; a network of a 3x3, a 1x1 and a 5x5 convolution, of which a defense changes every third channel."""
    defense = key.split("/")[2]
    rng = np.random.default_rng(len(key))
    across = np.linspace(0, 3, SIZE)
    hill = np.exp(-((across - 1) ** 2)[:, None] - (across - 2) ** 2)
    arrays = {"map.before": np.stack([hill, hill.T])}
    moved = min(1.0, DEFENSES[defense] / 10)
    arrays["map.after"] = (1 - moved) * arrays["map.before"] + moved * rng.random((2, SIZE, SIZE))
    for curve, before, after in (("deletion", 0.3, 0.5), ("insertion", 0.7, 0.6)):
        arrays[f"{curve}_area.before"] = before + 0.02 * np.arange(2)
        arrays[f"{curve}_area.after"] = before + moved * (after - before) + 0.03 * np.arange(2)
    for layer, (channels, side) in {"stem": (6, 3), "thin": (9, 1), "wide": (12, 5)}.items():
        changed = (np.arange(channels) % 3 == 0) & (side > 1)
        arrays[f"change.{layer}"] = np.tile(moved * changed, (2, 1))
        arrays[f"coefficient.{layer}"] = rng.normal(size=(2, channels))
        power = np.ones((2, side, side))
        arrays[f"spectrum.before.{layer}"] = power
        arrays[f"spectrum.after.{layer}"] = power + moved * (side > 1)
    return {name: values.astype(np.float32) for name, values in arrays.items()}


@pytest.fixture(scope="session")
def made_up_study() -> StudyData:
    """Two data sets (one 'synthetic'), four defense settings, two stages, one failed image."""
    keys = [
        f"{dataset}/convnet/{defense}/{stage}/fedsgd/seed0"
        for dataset, defense, stage in product(DATASETS, DEFENSES, STAGES)
        if (dataset, defense) != ("phantom", "gaussian-sigma0.1")
    ]
    return StudyData(
        scores=made_up_scores(),
        utility=made_up_utility(),
        pictures=LazyPictures(keys, _load_pictures),
        cards={name: _card(name) for name in DATASETS},
        manifests=_manifests(),
        study=_study(),
        not_run=[{"what": "phantom / gaussian-sigma0.1", "why": "cut from this made-up study"}],
        threat_models=_threat_models(),
        explanations={key: _explanation(key) for key in keys},
    )


@pytest.fixture
def empty_study() -> StudyData:
    """A study of which nothing has run yet."""
    scores, utility = made_up_scores().iloc[:0], made_up_utility().iloc[:0]
    return StudyData(scores=scores, utility=utility, study=_study())
