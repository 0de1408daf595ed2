"""A key of a study file that would change nothing is refused, and one that was left to its default is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gradsiege.errors import StudyError
from gradsiege.study import load, parse

Raw = dict[str, Any]
GAIN = {"idea": "a prior", "attack": "gi_pip", "against": "inverting_gradients"}


def federation(**keys: Any) -> Callable[[Raw], None]:
    return lambda raw: raw["federation"].update(keys)


def given_labels(raw: Raw) -> None:
    raw["threat_models"] = [{"id": "given", "labels": "given"}]
    raw["attacks"][0]["label_rule"] = "row_sum"


# What makes a key idle, and what lets it act again.
IDLE: dict[str, tuple[Callable[[Raw], None], str, Callable[[Raw], None]]] = {
    "alpha": (
        federation(alpha=0.5),
        "federation.alpha would change nothing: it belongs to 'partition: dirichlet', and partition is iid",
        federation(partition="dirichlet"),
    ),
    "decay": (
        federation(decay=0.5),
        "federation.decay would change nothing: there are no milestones",
        federation(milestones=[2]),
    ),
    "batch_size": (
        federation(client_batches=[4, 4, 4, 4]),
        "federation.batch_size would change nothing: client_batches",
        lambda raw: raw["federation"].pop("batch_size"),
    ),
    "only": (
        lambda raw: raw["attacks"][0].update(only=[]),
        "attacks.inverting_gradients.only would change nothing: it is an empty list",
        lambda raw: raw["attacks"][0].update(only=[{"seed": 0}]),
    ),
    "patience": (
        lambda raw: raw["attacks"][0].update(patience=5),
        "attacks.inverting_gradients.patience would change nothing: it is 5, and iterations is only 5",
        lambda raw: raw["attacks"][0].update(patience=4),
    ),
    "gains": (
        lambda raw: raw.update(gains=[GAIN]),
        "gains would change nothing: table_gains",
        lambda raw: raw["figures"].append("table_gains"),
    ),
    "label_rule": (
        given_labels,
        "attacks.inverting_gradients.label_rule would change nothing: every threat model gives the labels",
        lambda raw: raw["threat_models"].append({"id": "inferred"}),
    ),
}


@pytest.mark.parametrize("name", IDLE)
def test_a_key_that_would_change_nothing_is_refused(
    name: str, tiny_raw: Raw, tmp_path: Path
) -> None:
    make_idle, words, make_act = IDLE[name]
    file = tmp_path / "study.yaml"
    make_idle(tiny_raw)
    file.write_text(yaml.safe_dump(tiny_raw))
    with pytest.raises(StudyError, match=f"study.yaml: {words}"):
        load(file)
    make_act(tiny_raw)
    file.write_text(yaml.safe_dump(tiny_raw))
    study = load(file)
    # Plain data with every default written out say nothing about what a person wrote.
    assert parse(study.model_dump(mode="json")) == study
