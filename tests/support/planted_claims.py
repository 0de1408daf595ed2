"""Planted score tables of one study, and claims about them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd

from gradsiege.analysis.claims.claim import Claim
from gradsiege.analysis.claims.comparisons import Tables
from gradsiege.analysis.claims.evaluation import Outcome

STUDY: dict[str, Any] = {
    "study": "planted",
    "datasets": [{"id": "cifar", "name": "cifar10", "size": 32}],
    "models": [{"id": "resnet18", "name": "resnet18"}],
    "defenses": [
        {"id": "none", "name": "none"},
        {"id": "tip", "name": "tip", "arm": "faithful", "parameters": {"epsilon": 5.0}},
    ],
    "training_stages": ["untrained", "late"],
    "protocols": [{"id": "fedsgd", "name": "fedsgd", "images": 1}],
    "threat_models": [{"id": "told", "labels": "given", "disclosure": False}],
    "attacks": [{"id": "ig", "name": "inverting_gradients", "iterations": 100}],
    "federation": {"clients": 10, "rounds": 3},
}
CELL = {
    "dataset": "cifar",
    "model": "resnet18",
    "defense": "none",
    "training_stage": "late",
    "protocol": "fedsgd",
    "threat_model": "told",
    "attack": "ig",
}
VICTIMS = 24


def rows(seed: int = 0, psnr: float = 20.0, hits: float = 1.0, **ids: Any) -> pd.DataFrame:
    """One planted cell: the same victims everywhere, `psnr` their mean up to noise of 0.3 dB."""
    own = np.linspace(-3, 3, VICTIMS)  # what one victim has in every cell
    noise = np.random.default_rng(seed).normal(0, 0.3, VICTIMS)
    return pd.DataFrame(
        {
            **{name: [value] * VICTIMS for name, value in {**CELL, **ids}.items()},
            "seed": 0,
            "kind": "attack",
            "victim": range(VICTIMS),
            "image": 0,
            "status": "complete",
            "psnr": psnr + own + noise - noise.mean(),
            "lpips": float("nan"),
            "identified": np.arange(VICTIMS) < hits * VICTIMS,
        }
    )


def utility(accuracy: float, seeds: int = 3, **ids: Any) -> pd.DataFrame:
    places = [{"seed": seed, "round": turn} for seed in range(seeds) for turn in range(4)]
    table = pd.DataFrame(
        [{**{k: CELL[k] for k in ("dataset", "model", "defense")}, **ids, **p} for p in places]
    )
    spread = 0.001 * table["seed"] * (1 if ids else 2)
    return table.assign(status="complete", accuracy=accuracy - 0.1 * (3 - table["round"]) + spread)


def tables(*scores: pd.DataFrame, study: dict[str, Any] | None = None, **other: Any) -> Tables:
    nothing: dict[str, Any] = {"utility": pd.DataFrame(), "explained": pd.DataFrame()}
    table = pd.concat(scores, ignore_index=True) if scores else pd.DataFrame()
    return Tables(study or STUDY, table, **{**nothing, **other})


PLAIN: dict[str, Any] = {
    "id": "one",
    "paper": "P",
    "source": "s",
    "place": "p",
    "statement": "Something holds.",
    "rule": "value_within",
    "value": {"psnr": 20.0},
    "tolerance": {"psnr": 2.0},
    "cells": {"defense": "none"},
    "needs": {"dataset": "cifar10"},
}


def claim(**changes: Any) -> Claim:
    return Claim.model_validate({**PLAIN, **changes})


def lowers(size: float, **changes: Any) -> Claim:
    """TIP lowers PSNR by `size` dB."""
    return claim(
        rule="difference_sign",
        direction="lower",
        value={"psnr": size},
        tolerance={"psnr": 1.0},
        cells={"defense": "tip"},
        against=[{"defense": "none"}],
        **changes,
    )


def only(found: list[Outcome]) -> Outcome:
    assert len(found) == 1
    return found[0]


def changed(**sections: Any) -> dict[str, Any]:
    return {**copy.deepcopy(STUDY), **sections}


STAND_IN = changed(datasets=[{"id": "cifar", "name": "photos", "size": 32}])
