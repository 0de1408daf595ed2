"""Noise laws: the estimated deviation is the planted one, the likelihoods are those of torch.distributions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from gradsiege.attacks.counters import dp_sgd, gaussian, laplace, tip_dp
from gradsiege.attacks.counters.noise import (
    GaussianLikelihood,
    LaplaceLikelihood,
    estimated_deviation,
)
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.recipes import build
from gradsiege.errors import ThreatModelError
from gradsiege.protocol.local_update import Tensors, norm

Scenes = Callable[..., Any]


def plan(scene: Any) -> AttackPlan:
    recipe = build("inverting_gradients", {}, "faithful", 1, scene.knowledge)
    return AttackPlan(scene.knowledge, recipe).with_labels()


def one(update: Tensors, victim: int = 0) -> Tensors:
    return {name: value[victim] for name, value in update.items()}


def flat(update: Tensors) -> torch.Tensor:
    return torch.cat([value.flatten() for value in update.values()])


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("model", ["convnet", "lenet"])
@pytest.mark.parametrize("sigma", [0.001, 0.1])
def test_the_deviation_is_estimated(
    sigma: float, model: str, images: int, defended: Scenes
) -> None:
    scene = defended("gaussian", {"sigma": sigma}, model=model, images=images)
    found = estimated_deviation(plan(scene))
    assert found.shape == (2,)
    assert ((found / sigma - 1).abs() < 0.04).all()


def test_the_scale_of_laplace_noise_is_estimated(defended: Scenes) -> None:
    scene = defended("laplace", {"scale": 0.05})
    found = laplace.estimated_likelihood(plan(scene)).recipe.phases[0].distance
    assert isinstance(found, LaplaceLikelihood)
    assert abs(found.scale / 0.05 - 1) < 0.05


def test_several_local_epochs_are_several_outer_products(defended: Scenes) -> None:
    """Two steps of two images: four outer products, all of them signal, none of them noise."""
    scene = defended("none", images=4, steps=2)
    assert float(estimated_deviation(plan(scene)).max()) < 1e-6


@pytest.mark.parametrize("idea", [gaussian.likelihood, gaussian.estimated_likelihood])
def test_the_gaussian_likelihood_is_that_of_the_noise(
    idea: Callable[[AttackPlan], AttackPlan], defended: Scenes
) -> None:
    scene = defended("gaussian", {"sigma": 0.05}).double()
    distance = idea(plan(scene)).recipe.phases[0].distance
    clean, seen = one(scene.clean), one(scene.seen.update)
    law = torch.distributions.Normal(flat(clean), 0.05)
    expected = -law.log_prob(flat(seen)).mean() - math.log(0.05) - math.log(2 * math.pi) / 2
    torch.testing.assert_close(distance(clean, seen), expected, rtol=0.06, atol=0)
    if idea is gaussian.likelihood:
        torch.testing.assert_close(distance(clean, seen), expected)


def test_the_laplace_likelihood_is_that_of_the_noise(defended: Scenes) -> None:
    scene = defended("laplace", {"scale": 0.05}).double()
    distance = laplace.likelihood(plan(scene)).recipe.phases[0].distance
    clean, seen = one(scene.clean), one(scene.seen.update)
    law = torch.distributions.Laplace(flat(clean), 0.05)
    expected = -law.log_prob(flat(seen)).mean() - math.log(2 * 0.05)
    torch.testing.assert_close(distance(clean, seen), expected)


def test_noise_on_all_weights_is_weighed_without_a_disclosed_deviation(defended: Scenes) -> None:
    scene = defended("gaussian", {"sigma": 0.2})
    found = tip_dp.likelihood(plan(scene)).recipe.phases[0].distance
    assert isinstance(found, GaussianLikelihood)
    assert abs(found.deviation / 0.2 - 1) < 0.04


@pytest.mark.parametrize(("images", "steps"), [(1, 1), (4, 1), (4, 2)])
def test_the_deviation_of_dp_sgd_is_that_of_its_noise(
    images: int, steps: int, defended: Scenes
) -> None:
    settings = {"bound": 1e-4, "noise_multiplier": 1e4}
    scene = defended("dp_sgd", settings, images=images, steps=steps, victims=1)
    # So small a bound leaves nothing but noise.
    measured = flat(one(scene.seen.update)).std()
    assert abs(float(measured) / dp_sgd.deviation(plan(scene)) - 1) < 0.02


def test_a_single_candidate_is_clipped_as_the_client_clips(defended: Scenes) -> None:
    scene = defended("dp_sgd", {"bound": 0.5, "noise_multiplier": 0.0})
    clean, seen = one(scene.clean), one(scene.seen.update)
    assert norm(clean) > 1
    shown, _ = dp_sgd.clipped_view(clean, seen, 0.5)
    torch.testing.assert_close(shown, seen, rtol=1e-4, atol=1e-6)
    with pytest.raises(ThreatModelError, match="leaves no noise"):
        dp_sgd.likelihood(plan(scene))
