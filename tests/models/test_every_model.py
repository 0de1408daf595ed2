"""Models in study files and in Python: the same dataclass, the same ranges."""

import subprocess
import sys

import pytest
import torch

import gradsiege as gs
from gradsiege import catalogue
from gradsiege.models import ModelSpec, build
from gradsiege.models.base import Model

SMALL = {"convnet": {"width": 4}, "lenet": {"channels": 4}, "resnet18": {"width": 4}}


@pytest.mark.parametrize("name", SMALL)
def test_the_class_builds_the_network_of_the_study_file(name: str) -> None:
    kind = catalogue.implementation(catalogue.entries("models")[name])
    made = kind(**SMALL[name]).build(
        7, channels=1, size=32, generator=torch.Generator().manual_seed(3)
    )
    spec = ModelSpec(name, SMALL[name], classes=7, channels=1, size=32)
    same = build(spec, torch.Generator().manual_seed(3)).state_dict()
    assert made.state_dict().keys() == same.keys()
    assert all(torch.equal(value, same[key]) for key, value in made.state_dict().items())
    assert made(torch.rand(2, 1, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize(
    "entry", catalogue.entries("models").values(), ids=lambda entry: entry.name
)
def test_it_is_a_model_and_offered_by_its_name(entry: catalogue.Entry) -> None:
    kind = catalogue.implementation(entry)
    assert issubclass(kind, Model)
    assert kind.name == entry.name
    assert getattr(gs.models, entry.method) is kind


def test_their_names_are_known_without_torch() -> None:
    code = (
        "import sys, gradsiege as gs\n"
        "assert 'LeNet' in dir(gs.models) and 'PCA' in dir(gs.priors) and 'CIFAR10' in dir(gs.datasets)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_wrong_sizes_are_refused_in_python() -> None:
    with pytest.raises(ValueError, match="channels must be a whole number from 1"):
        gs.models.LeNet(channels=0)
