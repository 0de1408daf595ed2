"""A last layer called ``fc``, with and without a bias: everything that needs a head finds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradsiege import catalogue
from gradsiege.attacks import counters, labels, recipes
from gradsiege.attacks.counters.noise import estimated_deviation
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.objectives.distances import squared_l2
from gradsiege.attacks.objectives.estimated_transforms import after
from gradsiege.attacks.reconstruct import reconstruct
from gradsiege.defenses.shadow.head import head_difference
from gradsiege.errors import StudyError
from gradsiege.models.base import Model

torch.set_num_threads(1)
Scenes = Callable[..., Any]


@dataclass(frozen=True)
class Other(Model):
    """Whether the last layer has a bias."""

    name = "other"

    bias: bool = True

    def network(self, classes: int, channels: int, size: int) -> nn.Module:
        return Network(self.bias, classes, channels)


class Network(nn.Module):
    """A convolution, and behind it a linear layer that is defined before it."""

    def __init__(self, bias: bool, classes: int, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(6 * 16, classes, bias=bias)
        self.features = nn.Conv2d(channels, 6, 4, stride=4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).relu().flatten(1))


@pytest.fixture(autouse=True)
def other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of the catalogue, called ``other``."""
    entry = catalogue.Entry("models", "other", __name__, 1, "A model.", method="Other")
    monkeypatch.setitem(catalogue.entries("models"), "other", entry)


def disclosed(scene: Any, defense: str) -> Any:
    """The scene of a client that says it has a defense."""
    stated = {"defense": defense, "arm": "faithful", "ratio": 0.1}
    return replace(scene, seen=replace(scene.seen, disclosure=stated))


def plan(scene: Any, name: str = "inverting_gradients") -> AttackPlan:
    return AttackPlan(scene.knowledge, recipes.build(name, {}, "faithful", 1, scene.knowledge))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ["none", "soteria"])
def test_labels_are_found(name: str, bias: bool, defended: Scenes) -> None:
    scene = defended(name, model="other", shape={"bias": bias}, victims=6)
    assert torch.equal(labels.inferred(scene.seen), scene.labels)
    head = scene.knowledge.head
    assert head.parameters == ("body.fc.weight", "body.fc.bias")[: 1 + bias]


@pytest.mark.parametrize("bias", [True, False])
def test_soteria_masks_that_layer_and_its_counters_know(bias: bool, defended: Scenes) -> None:
    scene = defended("soteria", model="other", shape={"bias": bias})
    changed = [k for k, v in scene.clean.items() if not torch.equal(v, scene.seen.update[k])]
    assert changed == ["body.fc.weight"]
    kept = counters.apply("soteria.drop_layer", plan(scene)).update
    assert set(scene.clean) - set(kept) == {"body.fc.weight"}
    for change in (
        counters.apply("soteria.estimated_mask", plan(scene)).recipe.phases[0].distance,
        after(squared_l2, "soteria", scene.knowledge),
    ):
        one = {name: value[0] for name, value in scene.clean.items()}
        assert change(one, {k: v[0] for k, v in scene.seen.update.items()}) < 1e-5


def test_precodes_bottleneck_goes_before_that_layer(defended: Scenes) -> None:
    scene = defended("precode", {"units": 5}, model="other", shape={}, victims=6)
    assert {"body.fc.bottleneck.encoder.weight", "body.fc.head.weight"} <= scene.clean.keys()
    assert torch.equal(labels.inferred(scene.seen), scene.labels)
    informed = counters.apply("precode.drop_module", plan(scene))
    assert set(informed.update) == {"body.features.weight", "body.features.bias"}
    assert torch.equal(informed.knowledge.observation.labels, scene.labels)


def test_noise_is_estimated_from_that_layer(defended: Scenes) -> None:
    scene = defended("gaussian", {"sigma": 0.05}, model="other", shape={}, victims=3)
    assert estimated_deviation(plan(scene)).tolist() == pytest.approx([0.05] * 3, rel=0.15)


def test_its_input_is_revealed_by_its_bias_and_without_one_the_term_is_zero(
    defended: Scenes,
) -> None:
    scene = disclosed(defended("none", model="other", shape={}), "tip")
    assert counters.apply("tip.head_features", plan(scene)).recipe.phases[0].regularizers[1:]
    for bias in (True, False):
        scene = defended("none", model="other", shape={"bias": bias})
        recipe = plan(scene, "modern_inverting_gradients").recipe
        found = reconstruct(scene.knowledge, recipe, 1, ("s",))
        assert torch.isfinite(found.matching_loss).all()


@pytest.mark.parametrize(
    "counter",
    ["tip.head_features", "precode.drop_module", "censor.norms_and_orthogonality"],
)
def test_counters_that_read_a_bias_say_so_where_there_is_none(
    counter: str, defended: Scenes
) -> None:
    scene = defended("none", model="other", shape={"bias": False})
    scene = disclosed(scene, counter.partition(".")[0])
    with pytest.raises(StudyError, match=f"{counter} reads the bias of the last layer"):
        counters.apply(counter, plan(scene))


@pytest.mark.parametrize("bias", [True, False])
def test_shadows_clients_may_start_with_another_layer(bias: bool, defended: Scenes) -> None:
    scene = defended("none", model="other", shape={"bias": bias})
    found = head_difference(scene.seen.parameters, scene.knowledge.head)
    assert {name.rpartition(".")[0] for name in found} == {"body.fc"}
    assert len(found) == 1 + bias
