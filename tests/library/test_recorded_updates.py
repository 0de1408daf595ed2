"""Updates that were recorded elsewhere: read as observed ones are, refused in one sentence where they do not fit."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_classifiers import ATTACK, small
from torch import Tensor, nn

import gradsiege as gs
from gradsiege import catalogue, defenses
from gradsiege.errors import ModelError, ThreatModelError
from gradsiege.protocol.disclosure import checked
from gradsiege.protocol.local_update import split_state


def test_an_update_that_was_recorded_is_what_observing_gives() -> None:
    network, image = small(), torch.rand(1, 3, 16, 16)
    seen = gs.observe(network, image, torch.tensor([3]))
    loss = F.cross_entropy(network(image), torch.tensor([3]))
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    names = [name for name, _ in network.named_parameters()]
    named = {name: value.numpy() for name, value in zip(names, gradients, strict=True)}
    rate = 0.25
    training = gs.LocalTraining("fedsgd", 1, 1, 1, rate, "eval")
    moved = {name: -rate * value for name, value in named.items()}
    for given, more in (
        (named, {}),
        (list(gradients), {}),
        ({name: np.stack([value]) for name, value in named.items()}, {}),
        (moved, {"unit": "difference", "training": training}),
    ):
        recorded = gs.Observation.of(network, given, (3, 16, 16), **more)
        for key, value in seen.update.items():
            assert torch.allclose(recorded.update[key], value, atol=1e-6)
    assert torch.equal(
        ATTACK(gs.Observation.of(network, named, (3, 16, 16))).labels, torch.tensor([3])
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda update: {**update, "4.weight": update["3.weight"]}, "'4.weight', .* did you mean"),
        (lambda update: {**update, "3.bias": np.zeros(4)}, "has shape \\[4\\], .* has \\[5\\]"),
        (lambda update: list(update.values())[:2], "a list of 2 tensors, and the network has 4"),
        (lambda update: {}, "the update is empty"),
        (lambda update: {**update, "3.bias": np.arange(5)}, "not floating-point"),
        (lambda update: None, "the update is NoneType: give a mapping"),
        (lambda update: "update.npz", "the update is str: give a mapping"),
    ],
)
def test_an_update_that_does_not_fit_is_one_sentence(change: Any, message: str) -> None:
    parameters, _ = split_state(small())
    update = {name: value.numpy() for name, value in parameters.items()}
    with pytest.raises(ModelError, match=message):
        gs.Observation.of(small(), change(update), (3, 16, 16))


def test_labels_that_are_granted_and_absent_are_not_inferred() -> None:
    update: list[Tensor] = [value.detach() for value in small().parameters()]
    seen = gs.Observation.of(small(), update, (3, 16, 16))
    with pytest.raises(ThreatModelError, match="the observation holds none: give `labels`"):
        ATTACK(seen, gs.ThreatModel(labels="given"))


def test_an_update_that_is_not_finite_fails_alone() -> None:
    seen = gs.observe(small(), torch.rand(2, 3, 16, 16), torch.tensor([0, 1]))
    update = {name.removeprefix("body."): value.clone() for name, value in seen.update.items()}
    update["3.bias"][1, 0] = torch.nan
    result = ATTACK(gs.Observation.of(small(), update, (3, 16, 16)))
    assert set(result.failures) == {1}


@pytest.mark.parametrize("observed", [True, False])
def test_a_head_that_is_not_found_can_be_named(observed: bool) -> None:
    class Tempered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = small()

        def forward(self, x: Tensor) -> Tensor:
            scaled: Tensor = self.network(x) / 2
            return scaled

    network, image, label = Tempered(), torch.rand(1, 3, 16, 16), torch.tensor([3])
    loss = F.cross_entropy(network(image), label)
    update = list(torch.autograd.grad(loss, list(network.parameters())))

    def seen(**more: Any) -> gs.Observation:
        if observed:
            return gs.observe(network, image, label, **more)
        return gs.Observation.of(network, update, (3, 16, 16), **more)

    with pytest.raises(gs.GradSiegeError, match=r"Grant the labels .* or name a linear layer"):
        ATTACK(seen())
    assert ATTACK(seen(head="network.3")).labels.tolist() == [3]


def test_recorded_updates_are_observed_by_keywords_that_help_shows() -> None:
    from gradsiege.protocol.recorded import recorded

    shown = inspect.signature(gs.Observation.of).parameters
    wanted = inspect.signature(recorded).parameters
    assert list(shown) == list(wanted)
    assert [shown[name].default for name in shown] == [wanted[name].default for name in wanted]


@pytest.mark.parametrize("recorded", [True, False])
def test_a_client_holds_the_images_of_its_training(recorded: bool) -> None:
    network, images, labels = small(), torch.rand(4, 3, 16, 16), [3, 1, 2, 0]
    training = gs.LocalTraining("fedavg", 2, 1, 2, 0.1, "eval")
    update = [value.detach() for value in network.parameters()]

    def seen(**more: Any) -> gs.Observation:
        if recorded:
            return gs.Observation.of(network, update, (3, 16, 16), unit="difference", **more)
        return gs.observe(network, images, labels, **more)

    for more in ({}, {"images_per_client": 2}):
        observation = seen(training=training, **more)
        assert observation.training == training
        assert observation.images_per_client == 2
        assert observation.victims == (1 if recorded else 2)
    with pytest.raises(ModelError, match=r"images_per_client is 1, and `training` is of images=2"):
        seen(training=training, images_per_client=1)


def test_an_evaluation_deals_the_images_as_its_training_says() -> None:
    training = gs.LocalTraining("fedavg", 2, 1, 1, 0.1, "eval")
    rows = gs.evaluate(
        small(), torch.rand(4, 3, 16, 16), [3, 1, 2, 0], attacks=[ATTACK], training=training
    )
    assert list(zip(rows.client, rows.image, strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert set(rows.reason) == {""}


class Wrapped(nn.Module):
    """A classifier with a layer that is called ``body`` itself, beside one of the same name without it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 4, 3, 2)
        self.body = nn.ModuleDict({"stem": nn.Conv2d(4, 4, 1)})
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        features = self.norm(self.body["stem"](self.stem(x)).sigmoid())
        logits: Tensor = self.fc(features.mean((2, 3)))
        return logits


@pytest.mark.parametrize("network", [small(), Wrapped()])
def test_names_of_the_network_and_of_an_observation_are_taken(network: nn.Module) -> None:
    seen = gs.observe(network, torch.rand(2, 3, 16, 16), [0, 1])
    named = {name: seen.update[f"body.{name}"] for name, _ in network.named_parameters()}
    for given in (seen.update, named):
        again = gs.Observation.of(network, given, (3, 16, 16))
        assert again.update.keys() == seen.update.keys()
        for name, value in seen.update.items():
            assert torch.equal(again.update[name], value), name
    mixed = {**named, "body.fc.weigth": torch.zeros(5, 4)}
    with pytest.raises(ModelError, match=r"'body\.fc\.weigth', which is not a trained parameter"):
        gs.Observation.of(network, mixed, (3, 16, 16))


def test_buffers_and_frozen_weights_of_a_state_are_refused_as_such() -> None:
    network = Wrapped()
    network.stem.weight.requires_grad_(False)
    difference = {name: 0.1 * value for name, value in network.state_dict().items()}
    with pytest.raises(ModelError, match=r"holds 'stem\.weight' and 3 more, .*leave out buffers"):
        gs.Observation.of(network, difference, (3, 16, 16))
    trained = [name for name, value in network.named_parameters() if value.requires_grad]
    kept = {name: difference[name] for name in trained}
    assert len(gs.Observation.of(network, kept, (3, 16, 16)).update) == len(trained)


def test_a_tensor_that_is_left_out_is_not_matched() -> None:
    seen = gs.observe(small(), torch.rand(1, 3, 16, 16), [2])
    part = {name: value for name, value in seen.update.items() if name != "body.0.bias"}
    altered = gs.Observation.of(small(), part, (3, 16, 16))
    assert altered.update.keys() == part.keys()
    assert ATTACK(altered).labels.tolist() == [2]


@pytest.mark.parametrize(
    ("disclosure", "message"),
    [
        ("gaussian", r"disclosure is 'gaussian'; give .*disclosure\(\)"),
        ({"sigma": 0.1}, "names no defense: 'defense' is None"),
        ({"defense": "gaussian"}, "disclosure of gaussian lacks sigma"),
        ({"defense": "gaussian", "sigma": -1}, "'sigma' of gaussian must be a number from 0 to"),
    ],
)
def test_a_disclosure_is_checked_where_it_is_given(disclosure: Any, message: str) -> None:
    update: list[Tensor] = [value.detach() for value in small().parameters()]
    with pytest.raises(ModelError, match=message):
        gs.Observation.of(small(), update, (3, 16, 16), disclosure=disclosure)


@pytest.mark.parametrize("name", sorted(set(catalogue.entries("defenses")) - {"shadow"}))
def test_what_a_defense_says_of_itself_is_taken_as_it_is(name: str) -> None:
    for arm in catalogue.entries("defenses")[name].arms or ("faithful",):
        stated = defenses.build(name, {}, arm).disclosure()
        assert checked(stated) == stated


def test_a_defense_of_your_own_says_what_it_likes() -> None:
    assert checked({"defense": "mine", "colour": "red"}) == {"defense": "mine", "colour": "red"}


def test_an_update_that_holds_nothing_or_overflows_fails_alone() -> None:
    seen = gs.observe(small(), torch.rand(4, 3, 16, 16), [0, 1, 2, 3])
    update = {name: value.clone() for name, value in seen.update.items()}
    for value in update.values():
        value[0] = 0
        value[1] *= 1e30
    first = next(iter(update))
    update[first][2] = 0  # one tensor of several, as a defense may leave it
    recorded = gs.Observation.of(small(), update, (3, 16, 16))
    assert set(recorded.failures) == {0, 1}
    result = ATTACK(recorded)
    assert result.failures[0] == "the update is zero everywhere"
    assert result.failures[1].startswith("the squares of the update overflow")
    assert result.images.flatten(1).isfinite().all(1).tolist() == [False, False, True, True]
    with pytest.raises(ModelError, match="client 0: the update is zero everywhere; leave it out"):
        gs.audit_updates(small(), update, (3, 16, 16))


def normalised() -> nn.Module:
    """A classifier whose second batch norm gets one value per channel and image."""
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4))
    return nn.Sequential(layers, nn.Flatten(), nn.Linear(4, 5))


@pytest.mark.parametrize(("images", "batch"), [(1, 1), (3, 2), (3, 1), (1, 4)])
def test_a_protocol_that_no_client_can_follow_is_refused(images: int, batch: int) -> None:
    update = [value.detach() for value in normalised().parameters()]
    training = gs.LocalTraining("fedavg", images, batch, 1, 0.1, "train")
    for call in (
        lambda: gs.Observation.of(normalised(), update, (3, 16, 16), training=training),
        lambda: gs.audit_updates(normalised(), update, (3, 16, 16), training),
    ):
        with pytest.raises(ModelError, match=r"the batch norm 0\.2 gets \[1, 4, 1, 1\]"):
            call()


def test_a_protocol_that_clients_can_follow_is_taken() -> None:
    update = [value.detach() for value in normalised().parameters()]
    for training in (
        gs.LocalTraining("fedavg", 4, 2, 1, 0.1, "train"),
        gs.LocalTraining("fedavg", 1, 1, 1, 0.1, "eval"),
    ):
        assert not gs.Observation.of(normalised(), update, (3, 16, 16), training=training).failures


def test_pairs_of_names_and_tensors_are_taken_and_a_lone_label_is_not() -> None:
    update = {name: value.detach() for name, value in small().named_parameters()}
    pairs = gs.Observation.of(small(), list(update.items()), (3, 16, 16))
    assert torch.equal(pairs.update["body.3.bias"][0], update["3.bias"])
    with pytest.raises(ModelError, match=r"labels have shape \[\]"):
        gs.Observation.of(small(), update, (3, 16, 16), labels=1)


@pytest.mark.parametrize(
    ("disclosure", "message"),
    [
        ({"defense": "gaussian", "sigma": 0.1, "sigmaa": 0.1}, "did you mean 'sigma'"),
    ],
)
def test_a_slip_in_a_disclosure_is_refused(disclosure: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        checked(disclosure)


def test_help_describes_the_arguments_of_recorded_updates() -> None:
    text = inspect.getdoc(gs.Observation.of) or ""
    for name in inspect.signature(gs.Observation.of).parameters:
        assert f"{name}:" in text, name
