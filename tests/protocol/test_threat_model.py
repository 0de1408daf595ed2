"""A threat model strips what it does not grant, and refuses a recipe that needs more."""

from dataclasses import replace

import pytest
import torch

from gradsiege.errors import ThreatModelError
from gradsiege.models import ModelSpec
from gradsiege.protocol.local_update import LocalTraining
from gradsiege.protocol.observation import Observation
from gradsiege.protocol.threat_model import ThreatModel, require, strip


def observation() -> Observation:
    return Observation.of_updates(
        ModelSpec("lenet", {}, 10, 3, 16),
        {},
        {},
        {"head.weight": torch.zeros(2, 10, 4)},
        LocalTraining("fedsgd", 1, 1, 1, 0.1, "eval"),
        disclosure={"defense": "gaussian", "sigma": 0.1},
        labels=torch.tensor([[3], [4]]),
    )


def test_strips_everything_that_is_not_granted() -> None:
    seen = strip(observation(), ThreatModel(id="weak", protocol=False))
    assert (seen.labels, seen.training, seen.disclosure) == (None, None, None)


def test_keeps_what_is_granted() -> None:
    seen = strip(observation(), ThreatModel(id="strong", labels="given", disclosure=True))
    assert seen.labels is not None
    assert seen.training is not None
    assert seen.disclosure == {"defense": "gaussian", "sigma": 0.1}


def test_wrong_labels_are_none_of_the_true_ones_and_are_used_like_given_ones() -> None:
    threat = ThreatModel(id="misled", labels="wrong")
    seen = strip(replace(observation(), labels=torch.tensor([[3], [9]])), threat)
    assert seen.labels is not None
    assert seen.labels.tolist() == [[4], [0]]
    assert threat.grants("labels")
    assert "told wrong labels" in threat.describe()
    with pytest.raises(ThreatModelError, match="holds none"):
        strip(replace(observation(), labels=None), threat)


@pytest.mark.parametrize(
    ("threat", "needs", "missing"),
    [
        (ThreatModel(id="a", protocol=False), ("protocol",), "protocol"),
        (ThreatModel(id="b"), ("labels",), "labels"),
        (ThreatModel(id="c"), ("disclosure",), "disclosure"),
        (
            ThreatModel(id="d", auxiliary=False),
            ("protocol", "prior:autoencoder"),
            "prior:autoencoder",
        ),
    ],
)
def test_refuses_and_names_what_is_missing(
    threat: ThreatModel, needs: tuple[str, ...], missing: str
) -> None:
    with pytest.raises(ThreatModelError, match=missing):
        require(threat, needs, "some_attack")
