"""Likelihoods in nats per coordinate: each is the frequency of what its mechanism does, or its closed form in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from gradsiege.attacks import counters
from gradsiege.attacks.counters import censor, dp_sgd, quantization, sign, sparsification, top_k
from gradsiege.attacks.counters.noise import log_normal_cdf
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.counters.unsent import DOUBT, CensoredLikelihood, censored_nats
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.matching import plan_of
from gradsiege.attacks.recipes import build
from gradsiege.attacks.recipes.maximum_a_posteriori import MaximumAPosteriori
from gradsiege.attacks.reconstruct import reconstruct
from gradsiege.defenses.censor import orthogonal, released
from gradsiege.defenses.quantization import quantize
from gradsiege.priors.class_conditional_gaussian import ClassConditionalGaussian

Scenes = Callable[..., Any]
DRAWS = 4000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plan(scene: Any) -> AttackPlan:
    recipe = build("inverting_gradients", {}, "faithful", 1, scene.knowledge)
    return AttackPlan(scene.knowledge, recipe).with_labels()


def flat(update: dict[str, torch.Tensor], victim: int = 0) -> torch.Tensor:
    return torch.cat([value[victim].flatten() for value in update.values()])


def test_the_levels_of_qsgd_are_as_probable_as_they_are_frequent() -> None:
    """Whole outcomes of three coordinates, that of nothing but zeros among them, which the older idea leaves out."""
    value = torch.tensor([0.3, -0.55, 0.1]).double()
    draws = torch.stack([quantize(value, 1, generator(seed)) for seed in range(DRAWS)])
    outcomes, counts = draws.unique(dim=0, return_counts=True)
    assert bool((outcomes == 0).all(1).any())
    assert len(outcomes) >= 5
    distance = quantization.LevelLikelihood(1)
    for outcome, count in zip(outcomes, counts.tolist(), strict=True):
        nats = float(distance({"a": value}, {"a": outcome}) * 3)
        expected = count / DRAWS
        deviation = math.sqrt(expected * (1 - expected) / DRAWS)
        assert abs(math.exp(-nats) - expected) < 4 * deviation + 1e-3
    assert quantization.CellDistance(1)({"a": value}, {"a": torch.zeros(3).double()}) == 0


def test_the_logarithm_of_phi_is_that_of_torch_with_its_derivative() -> None:
    points = torch.linspace(-40, 10, 101).double().requires_grad_()
    ours, theirs = log_normal_cdf(points), torch.special.log_ndtr(points)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-14)
    slopes = [torch.autograd.grad(value.sum(), points)[0] for value in (ours, theirs)]
    torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-14)
    single = points.detach().float()
    reference = torch.special.log_ndtr(single.double())
    torch.testing.assert_close(log_normal_cdf(single).double(), reference, rtol=1e-6, atol=2e-7)


def test_signs_are_as_probable_as_they_are_frequent() -> None:
    value = torch.tensor([0.2, -0.1, 0.0]).double()
    noise = torch.randn(DRAWS, 3, generator=generator()).double()
    frequency = ((value + 0.3 * noise) > 0).double().mean(0)
    for place, expected in enumerate(frequency):
        nats = sign.sign_nats(value[place], torch.tensor(1.0), torch.tensor(0.3))
        torch.testing.assert_close((-nats).exp(), expected, rtol=0, atol=0.03)
        down = sign.sign_nats(value[place], torch.tensor(-1.0), torch.tensor(0.3))
        torch.testing.assert_close((-down).exp(), 1 - expected, rtol=0, atol=0.03)


@pytest.mark.parametrize("scaled", [True, False])
def test_the_scale_of_signs_is_that_of_the_received_tensor(scaled: bool) -> None:
    """With mean magnitudes sent, a candidate far below them is unsure of its signs; without, its scale says nothing."""
    distance = sign.SignLikelihood(scaled)
    seen = {"a": torch.tensor([0.5, -0.5, 0.5, 0.5])}
    small, large = ({"a": size * torch.tensor([1.0, -1.0, 1.0, -1.0])} for size in (0.01, 0.5))
    assert (distance(small, seen) < distance(large, seen) - 1) == scaled
    if not scaled:
        torch.testing.assert_close(distance(small, seen), distance(large, seen))


def test_unsent_coordinates_are_as_probable_as_they_are_frequent() -> None:
    value = torch.tensor([0.9, -1.3, 0.0, 0.4]).double()
    limit, deviation = torch.tensor(0.4).double(), torch.tensor(0.5).double()
    sent = value + deviation * torch.randn(DRAWS, 4, generator=generator()).double()
    frequency = (sent.abs() <= limit).double().mean(0)
    zero = torch.zeros(1).double()
    for place, expected in enumerate(frequency):
        nats = censored_nats(value[place : place + 1], zero, limit, deviation)
        torch.testing.assert_close((-nats).exp(), expected, rtol=0, atol=0.03)


def test_sent_coordinates_have_their_density_and_unsent_ones_their_bound() -> None:
    seen = {"a": torch.tensor([2.0, 0.0]).double(), "b": torch.zeros(2).double()}
    for idea, silent in ((sparsification, True), (top_k, False)):
        distance = CensoredLikelihood(idea.limits)
        deviation = DOUBT * 2
        near = {"a": torch.tensor([1.9, 0.5]).double(), "b": torch.zeros(2).double()}
        expected = (0.1 / deviation) ** 2 / 2
        torch.testing.assert_close(float(distance(near, seen) * 4), expected, rtol=1e-4, atol=0)
        over = {**near, "b": torch.tensor([0.0, 3.0]).double()}
        # Per tensor, one of zeros has no bound; over all tensors it is the smallest magnitude of the others.
        assert bool(distance(over, seen) == distance(near, seen)) == silent


def test_dp_sgd_is_the_law_of_the_clipped_gradient_and_its_noise(defended: Scenes) -> None:
    settings = {"bound": 0.5, "noise_multiplier": 0.02}
    scene = defended("dp_sgd", settings).double()
    distance = dp_sgd.likelihood(plan(scene)).recipe.phases[0].distance
    clean = {name: value[0] for name, value in scene.clean.items()}
    seen = {name: value[0] for name, value in scene.seen.update.items()}
    whole = flat(scene.clean)
    assert whole.norm() > 1
    law = torch.distributions.Normal(whole * 0.5 / whole.norm(), 0.01)
    constant = math.log(0.01) + math.log(2 * math.pi) / 2
    expected = -law.log_prob(flat(scene.seen.update)).mean() - constant
    torch.testing.assert_close(distance(clean, seen), expected)


@pytest.mark.parametrize("length", [3.0, 8.0])
def test_released_directions_have_the_spread_that_the_likelihood_takes(length: float) -> None:
    size = 400
    truth = torch.randn(size, generator=generator(10_000))
    truth *= length / truth.norm()
    draws = torch.stack(
        [released(truth, torch.randn(size, generator=generator(seed))) for seed in range(500)]
    )
    cosines = draws @ truth / (length * draws.norm(dim=1))
    # The part along g is (u g)(1 - |g|) / |g| of a unit vector u; the whole is longer than u by what that adds.
    widened = math.sqrt(1 + ((length - 1) ** 2 - 1) / size)
    assert abs(float(cosines.std()) * math.sqrt(size) * widened / (length - 1) - 1) < 0.1
    other = torch.randn(size, generator=generator(10_001))
    chance = draws @ other / (other.norm() * draws.norm(dim=1))
    assert abs(float(chance.std()) * math.sqrt(size) - 1) < 0.15


def test_the_released_likelihood_is_the_ratio_of_two_laws() -> None:
    seen = {"a": 5 * torch.nn.functional.normalize(torch.ones(10).double(), dim=0)}
    candidate = {"a": torch.arange(10).double()}
    cosine = float(torch.nn.functional.cosine_similarity(candidate["a"], seen["a"], dim=0))
    at_truth, elsewhere = (
        torch.distributions.Normal(0.0, spread / math.sqrt(10)) for spread in (4.0, 1.0)
    )
    point = torch.tensor(cosine)
    ratio = float(at_truth.log_prob(point) - elsewhere.log_prob(point)) + math.log(4)
    assert abs(float(censor.released_likelihood(candidate, seen)) * 10 + ratio) < 1e-5


def test_the_size_of_a_tensor_weighs_its_angle() -> None:
    """A wrong candidate's squared cosine is 1 / d: each tensor says half a nat, whatever its size."""
    draw = generator()
    for size in (20, 2000):
        told = []
        for _ in range(200):
            wrong, truth = (torch.randn(size, generator=draw) for _ in range(2))
            seen = {"a": orthogonal(truth, torch.randn(size, generator=draw))}
            wrong *= truth.norm() / wrong.norm()
            told.append(float(censor.faithful_likelihood({"a": wrong}, seen)) * size)
            assert censor.faithful_likelihood({"a": truth}, seen) * size < 1e-3
        assert abs(sum(told) / 200 - 0.5) < 0.15


def test_the_labels_of_censors_arms_follow_from_what_each_leaks(defended: Scenes) -> None:
    for arm, least in (("faithful", 4), ("as_released", 3)):
        scene = defended("censor", {"trials": 2}, arm=arm, victims=5)
        informed = censor.likelihood(plan(scene))
        right = (informed.knowledge.observation.labels == scene.labels).sum()
        assert right >= least, arm


SETTINGS: dict[str, dict[str, Any]] = {
    "gaussian.likelihood": {"sigma": 0.05},
    "laplace.likelihood": {"scale": 0.05},
    "quantization.likelihood": {},
    "sign.likelihood": {},
    "sparsification.likelihood": {},
    "top_k.likelihood": {},
    "dp_sgd.likelihood": {"bound": 0.5, "noise_multiplier": 0.01},
    "censor.likelihood": {"trials": 2},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_likelihood_meets_the_prior_in_one_unit(name: str, defended: Scenes) -> None:
    scene = defended(name.partition(".")[0], SETTINGS[name])
    images = torch.rand(40, 3, 16, 16, generator=generator())
    prior = ClassConditionalGaussian().fit(images, torch.arange(40) % 10)
    knowledge = Knowledge(scene.seen, scene.knowledge.threat, (prior,))
    informed = plan_of(MaximumAPosteriori(iterations=4, counter=name), knowledge)
    plain = plan_of(MaximumAPosteriori(iterations=4), knowledge)
    before, after = plain.recipe.phases[0], informed.recipe.phases[0]
    assert after.distance != before.distance
    assert after.regularizers == before.regularizers
    found = reconstruct(informed.knowledge, informed.recipe, 1, ("s",))
    assert found.images.isfinite().all()
    assert (found.matching_loss < found.trace[0][1][:, 0]).any()
    assert counters.apply(name, plan(scene)).update
