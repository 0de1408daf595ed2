"""Which attack cells are computed again by a new version of label inference."""

from __future__ import annotations

from typing import Any

import pytest

from gradsiege.pipeline import cells
from gradsiege.pipeline.label_inference import VERSION
from gradsiege.study import Study

IDS = {"dataset": "photos", "model": "convnet", "defense": "gaussian", "protocol": "one_image"}
STUDY: dict[str, Any] = {
    "study": "labels",
    "seed": 0,
    "datasets": [{"name": "photos", "size": 16, "counts": dict.fromkeys(("train", "test", "aux", "public", "tune", "victims"), 4)}],
    "models": [{"name": "lenet"}, {"id": "grouped", "name": "convnet"}, {"name": "convnet"}],
    "defenses": ["none", "gaussian"],
    "federation": {"clients": 2, "clients_per_round": 2, "rounds": 2, "early_round": 1},
    "training_stages": ["untrained"],
    "protocols": [
        {"id": "one_image", "name": "fedsgd", "images": 1},
        {"id": "batch", "name": "fedsgd", "images": 4, "batch_size": 4},
    ],
    "threat_models": [
        {"id": "inferred", "labels": "inferred"},
        {"id": "given", "labels": "given"},
        {"id": "informed", "labels": "inferred", "disclosure": True},
    ],
    "attacks": [
        {"id": "plain", "name": "inverting_gradients", "iterations": 1},
        {"id": "row_sum", "name": "inverting_gradients", "iterations": 1, "label_rule": "row_sum"},
        {"id": "projection", "name": "inverting_gradients", "iterations": 1, "label_rule": "projection"},
    ],
    "victims": 4,
    "seeds": [0],
    "figures": [],
}  # fmt: skip


def version(**ids: str) -> int:
    """The version in the settings of an attack cell."""
    study = Study.model_validate(STUDY)
    chosen = {**IDS, "threat_model": "inferred", "attack": "plain", **ids}
    cell = cells.Cell("attack", training_stage="untrained", **chosen)
    return int(cells.settings(cell, study).get("label_inference", 1))


@pytest.mark.parametrize("model", ["convnet", "grouped"])
def test_networks_that_row_sums_judged_get_the_new_version(model: str) -> None:
    assert version(model=model) == VERSION


@pytest.mark.parametrize("model", ["lenet", "convnet"])
def test_counts_of_batches_get_the_new_version_on_every_network(model: str) -> None:
    assert version(model=model, protocol="batch") == VERSION
    assert version(model=model, protocol="batch", attack="projection") == VERSION


@pytest.mark.parametrize(
    "ids",
    [
        {"model": "lenet"},
        {"defense": "none"},
        {"defense": "none", "protocol": "batch"},
        {"threat_model": "given"},
        {"threat_model": "given", "protocol": "batch"},
        {"attack": "row_sum"},
        {"attack": "projection"},
    ],
    ids=str,
)
def test_cells_with_the_same_labels_as_before_keep_their_digests(ids: dict[str, str]) -> None:
    assert version(**ids) == 1
