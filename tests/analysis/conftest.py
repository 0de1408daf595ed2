"""Made-up score tables: invented numbers, no attack ever ran."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest


@pytest.fixture
def made_up_row() -> Callable[..., dict[str, Any]]:
    """A function that gives one made-up score row, changed by its keywords."""

    def row(**changes: Any) -> dict[str, Any]:
        base: dict[str, Any] = {
            "study": "made_up",
            "dataset": "photos",
            "model": "convnet",
            "defense": "none",
            "training_stage": "untrained",
            "protocol": "fedsgd",
            "seed": 0,
            "threat_model": "informed",
            "attack": "inverting_gradients",
            "kind": "attack",
            "victim": 0,
            "image": 0,
            "label": 0,
            "status": "complete",
            "reason": "",
            "psnr": 20.0,
            "ssim": 0.5,
            "haarpsi": 0.4,
            "rank": 1,
            "gallery_size": 50,
            "identified": True,
            "iterations": 100,
            "seconds": 2.0,
        }
        return base | changes

    return row


@pytest.fixture
def made_up_scores(made_up_row: Callable[..., dict[str, Any]]) -> pd.DataFrame:
    """Two attacks and a control on ten victims of two images; one failure, one perfect copy."""
    rows = []
    for victim in range(10):
        for image in range(2):
            same = {"victim": victim, "image": image}
            rows.append(made_up_row(psnr=20.0 + victim + image, **same))
            rows.append(made_up_row(attack="gi_pip", psnr=21.5 + victim + 0.5 * image, **same))
            rows.append(
                made_up_row(
                    attack="control_random", kind="control", psnr=8.0, identified=False, **same
                )
            )
    table = pd.DataFrame(rows)
    failed = (table["attack"] == "gi_pip") & (table["victim"] == 3) & (table["image"] == 1)
    table.loc[failed, ["status", "reason", "identified"]] = ["failed", "NaN in the update", False]
    table.loc[failed, ["psnr", "ssim", "haarpsi"]] = float("nan")
    perfect = (table["attack"] == "gi_pip") & (table["victim"] == 9) & (table["image"] == 0)
    table.loc[perfect, "psnr"] = float("inf")
    return table
