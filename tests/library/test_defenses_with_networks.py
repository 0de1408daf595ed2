"""PRECODE and Shadow on networks of users: the bottleneck that one needs, and the generator that the other needs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_classifiers import ATTACK, small
from torch import nn

import gradsiege as gs
from gradsiege.errors import GradSiegeError
from gradsiege.models.bottleneck import insert_bottleneck
from gradsiege.priors.base import TrainedPrior

IMAGES = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
KNOWS = gs.ThreatModel(disclosure=True)
D = gs.defenses


def with_bottleneck(dtype: torch.dtype = torch.float32) -> nn.Module:
    model = small().to(dtype)
    insert_bottleneck(model, "3", 8, torch.Generator().manual_seed(0))
    return model


def test_precode_names_the_call_that_makes_it_work() -> None:
    call = r"gradsiege\.models\.bottleneck\.insert_bottleneck\(model, '3', 8, torch\.Generator"
    with pytest.raises(GradSiegeError, match=call):
        gs.observe(small(), IMAGES, [3], defense=D.Precode(units=8))
    with pytest.raises(GradSiegeError, match=r"give Precode\(units=8\)"):
        gs.observe(with_bottleneck(), IMAGES, [3], defense=D.Precode())


def test_precode_and_its_counters_run_on_a_network_with_a_bottleneck() -> None:
    rows = gs.evaluate(with_bottleneck(), IMAGES, [3], [D.Precode(units=8)], [ATTACK], knows=KNOWS)
    assert "precode.exact" in set(rows.counter)
    assert set(rows.reason) == {""}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precode_draws_a_code_for_networks_of_either_type(dtype: torch.dtype) -> None:
    model = with_bottleneck(dtype)
    plain = gs.observe(model, IMAGES, [3]).update
    drawn = gs.observe(model, IMAGES, [3], defense=D.Precode(units=8)).update
    for name, value in drawn.items():
        assert value.dtype == dtype
        assert not torch.equal(value, plain[name])


@pytest.fixture(scope="module")
def generator() -> TrainedPrior:
    public = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    prior = gs.priors.ShadowGenerator(epochs=1, search_steps=1, latent=8, width=4)
    return prior.fit(public, torch.arange(12) % 5)


def perturbed(pretrained: Any, model: nn.Module | None = None, **settings: Any) -> Any:
    defense = D.Shadow(pretrained=pretrained, latent_steps=2, **settings)
    return gs.observe(model or small(), IMAGES, [3], defense=defense).update


def test_shadow_takes_what_fit_returns(generator: TrainedPrior) -> None:
    weights = perturbed(generator.weights)
    for name, value in perturbed(generator).items():
        assert torch.equal(value, weights[name])


def test_shadow_says_what_its_generator_has_to_be(generator: TrainedPrior) -> None:
    public = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    other = gs.priors.PCA().fit(public, torch.arange(12) % 5)
    for pretrained, message in (
        (None, r"gradsiege\.priors\.ShadowGenerator\(\)\.fit\(images, labels\) returns"),
        (other, "`pretrained` is the prior 'pca': give what"),
    ):
        with pytest.raises(GradSiegeError, match=message):
            perturbed(pretrained)
    with pytest.raises(GradSiegeError, match=r"the network torch\.float64: observe `model\.float"):
        perturbed(generator, small().double())
    wide = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Flatten(), nn.Linear(4 * 225, 5))
    large = torch.zeros(1, 3, 32, 32)
    with pytest.raises(GradSiegeError, match=r"images of \(3, 16, 16\), and .* \(3, 32, 32\)"):
        gs.observe(wide, large, [3], defense=D.Shadow(pretrained=generator))


@pytest.mark.parametrize("frozen", [("3.bias",), ("3.weight", "3.bias")])
def test_shadow_as_released_keeps_what_is_frozen(
    frozen: tuple[str, ...], generator: TrainedPrior
) -> None:
    model = small()
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)
    update = perturbed(generator, model, arm="as_released")
    trained = {f"body.{name}" for name, p in model.named_parameters() if p.requires_grad}
    assert set(update) == trained
