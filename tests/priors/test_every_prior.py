"""What the stage `prior` asks of every prior."""

import inspect

import pytest

import gradsiege as gs
from gradsiege import catalogue, priors
from gradsiege.priors.base import Prior


@pytest.mark.parametrize(
    "entry", catalogue.entries("priors").values(), ids=lambda entry: entry.name
)
def test_it_is_trained_and_loaded_alike(entry: catalogue.Entry) -> None:
    kind = catalogue.implementation(entry)
    assert issubclass(kind, Prior)
    assert kind.name == entry.name
    assert getattr(gs.priors, entry.method) is kind
    for hook in ("train", "load"):
        wanted = inspect.signature(getattr(Prior, hook)).parameters
        assert list(inspect.signature(getattr(kind, hook)).parameters) == list(wanted)
    assert priors.build(entry.name, {}) == kind()
