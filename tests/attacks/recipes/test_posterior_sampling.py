"""Diffusion posterior sampling against closed forms: a Gaussian prior, an update that is linear in the image."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gradsiege as gs
from gradsiege.attacks.counters.noise import GaussianLikelihood
from gradsiege.attacks.counters.shadow import NOISE
from gradsiege.attacks.engine.autotune import EnginePolicy
from gradsiege.attacks.engine.loop import State
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.matching import plan_of
from gradsiege.attacks.objectives.carried import Carried
from gradsiege.attacks.optimizers.posterior import (
    PosteriorSampler,
    ancestral,
    guidance,
    level,
)
from gradsiege.attacks.progress import LoopCheckpointer
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.attacks.recipes.posterior_sampling import PosteriorSampling
from gradsiege.attacks.reconstruct import reconstruct
from gradsiege.attacks.spaces.denoised import ESTIMATE, NOISY, Denoised
from gradsiege.errors import ThreatModelError
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import Tensors
from gradsiege.protocol.observation import Observation

torch.set_num_threads(1)
SIDE, LARGEST, LEAST = 2, 10.0, 0.01
DIMENSION = SIDE**2
GIVEN = gs.ThreatModel(labels="given")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---- a prior that is Gaussian, in [-1, 1] without noise ----


@cache
def prior() -> tuple[Tensor, Tensor]:
    """Mean ``[d]`` and covariance ``[d, d]``."""
    mean = torch.tensor([0.3, -0.2, 0.1, 0.0], dtype=torch.float64)
    factor = torch.randn(DIMENSION, DIMENSION, generator=seeded(), dtype=torch.float64)
    return mean, 0.03 * factor @ factor.T + 0.01 * torch.eye(DIMENSION)


def gain(sigma: float) -> Tensor:
    """C (C + sigma^2 I)^-1, by which the posterior mean moves with the noisy image."""
    _, covariance = prior()
    return covariance @ torch.linalg.inv(covariance + sigma**2 * torch.eye(DIMENSION))


class Analytic(nn.Module):
    """The exact denoiser E[image | x] of the Gaussian prior."""

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        mean, covariance = prior()
        noisy = covariance + sigma[:, None, None].square() * torch.eye(DIMENSION, dtype=x.dtype)
        rest = torch.linalg.solve(noisy, (x.flatten(1) - mean)[..., None])
        return (mean + (covariance @ rest)[..., 0]).view(x.shape)


# ---- a measurement y = A image + noise ----

MASK = torch.tensor([1.0, 1.0, 0.0, 1.0], dtype=torch.float64)


def posterior(slope: Tensor, deviation: float, measured: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the image after y = A image + N(0, deviation^2)."""
    mean, covariance = prior()
    precision = torch.linalg.inv(covariance) + slope.T @ slope / deviation**2
    after = torch.linalg.inv(precision)
    return mean + after @ slope.T @ (measured - slope @ mean) / deviation**2, after


def samples(count: int, steps: int, score: Any) -> Tensor:
    """Draw by the sampler's own equations, `score` the gradient of -log p(y | x) at a level of noise."""
    mean, _ = prior()
    x = LARGEST * torch.randn(count, DIMENSION, generator=seeded(1), dtype=torch.float64)
    for step in range(steps):
        now, after = (level(place, steps, LARGEST, LEAST) for place in (step, step + 1))
        denoised = mean + (x - mean) @ gain(now).T
        noise = torch.randn(x.shape, generator=seeded(2 + step), dtype=torch.float64)
        x = ancestral(x, denoised, noise, now, after) - guidance(
            score(denoised, now), now, after, 1.0, None
        )
    return x


def assert_moments(found: Tensor, mean: Tensor, covariance: Tensor, bias: float) -> None:
    """Compare moments: four standard errors, and `bias` of the largest deviation or variance for the finite number of steps."""
    count = len(found)
    largest = covariance.diagonal().max()
    slack = 4 * (covariance.diagonal() / count).sqrt() + bias * largest.sqrt()
    assert ((found.mean(0) - mean).abs() < slack).all(), (found.mean(0), mean)
    spread = torch.outer(covariance.diagonal(), covariance.diagonal()).sqrt()
    slack = 4 * spread * (2 / count) ** 0.5 + bias * largest
    assert ((found.T.cov() - covariance).abs() < slack).all(), (found.T.cov(), covariance)


def test_levels_fall_from_the_largest_to_nothing() -> None:
    levels = [level(step, 30, 10.0, 0.01) for step in range(31)]
    assert levels[0] == pytest.approx(10)
    assert levels[29] == pytest.approx(0.01)
    assert levels[30] == 0
    assert levels == sorted(levels, reverse=True)
    roots = torch.tensor(levels[:30], dtype=torch.float64) ** (1 / 7)
    torch.testing.assert_close(roots.diff(), roots.diff().mean().expand(29))
    assert level(0, 1, 10.0, 0.01) == pytest.approx(10)


def test_a_step_is_the_posterior_of_the_less_noisy_image() -> None:
    """q(x' | x, image) by Bayes' rule from q(x' | image) = N(image, t^2) and q(x | x') = N(x', s^2 - t^2)."""
    image, x, now, after = 0.4, 1.7, 1.3, 0.6
    precision = 1 / after**2 + 1 / (now**2 - after**2)
    expected = (image / after**2 + x / (now**2 - after**2)) / precision
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    centre = ancestral(x * one, image * one, zero, now, after)
    torch.testing.assert_close(centre, expected * one)
    noisy = ancestral(x * one, image * one, one, now, after)
    torch.testing.assert_close(noisy - centre, precision**-0.5 * one)


def test_the_pull_is_bounded_only_where_it_is_large() -> None:
    gradient = torch.tensor([[0.1, -0.1], [30.0, 40.0]])
    free, bound = (guidance(gradient, 2.0, 1.0, 1.0, limit) for limit in (None, 0.5))
    torch.testing.assert_close(free, 3 * gradient)
    assert torch.equal(bound[0], free[0])
    # The estimate moves by limit s, and the image by the share of it that a step takes, along the gradient.
    torch.testing.assert_close(bound[1].square().mean().sqrt(), torch.tensor(0.5 * 2 * 0.75))
    torch.testing.assert_close(bound[1] / bound[1].norm(), gradient[1] / gradient[1].norm())


def test_with_the_exact_denoiser_samples_are_those_of_the_prior() -> None:
    drawn = samples(20_000, 400, lambda denoised, now: torch.zeros_like(denoised))
    assert_moments(drawn, *prior(), bias=0.02)


def test_with_the_exact_likelihood_samples_are_those_of_the_posterior() -> None:
    """p(y | x) = N(A D(x), A V A^T + deviation^2) with V the covariance that the noise leaves."""
    _, covariance = prior()
    slope, deviation = torch.diag(MASK), 0.15
    measured = torch.tensor([0.5, 0.1, 0.0, -0.3], dtype=torch.float64)

    def exact(denoised: Tensor, now: float) -> Tensor:
        left = covariance - gain(now) @ covariance
        noise = slope @ left @ slope.T + deviation**2 * torch.eye(DIMENSION)
        return -(measured - denoised @ slope.T) @ torch.linalg.inv(noise) @ slope @ gain(now)

    found = samples(20_000, 400, exact)
    mean, after = posterior(slope, deviation, measured)
    assert_moments(found, mean, after, bias=0.02)
    # The prior's moments would not pass.
    with pytest.raises(AssertionError):
        assert_moments(found, *prior(), bias=0.02)


# ---- the same through the engine: a network with zero weights has an update that is linear in the image ----


@dataclass(frozen=True)
class Masked:
    """-log p of the weight's gradient under Gaussian noise, over the pixels of the mask, in nats per coordinate."""

    deviation: float

    def __call__(self, candidate: Tensors, observed: Tensors) -> Tensor:
        (name,) = [name for name, value in observed.items() if value.dim() == 2]
        squares = ((candidate[name] - observed[name]) * MASK).square().sum()
        return squares / (2 * self.deviation**2 * observed[name].numel())


def linear_scene(image: Tensor) -> tuple[Knowledge, float]:
    """What a server sees of a linear classifier of two classes with zero weights; and the number A = a I it multiplies with.

    The gradient of the weight is (p - onehot) x^T with p = 1/2 and x the normalised image: two rows of +-x / 2.
    """
    network = nn.Sequential(nn.Flatten(), nn.Linear(DIMENSION, 2)).double()
    nn.init.zeros_(network[1].weight)
    nn.init.zeros_(network[1].bias)
    images = ((image + 1) / 2).view(1, 1, SIDE, SIDE)
    seen = gs.observe(network, images, torch.tensor([0]), normalisation=([0.5], [0.25]))
    # Normalised: (image + 1) / 2 = 0.5 + image / 2, divided by 0.25 after 0.5 was taken away. Two rows of half of it.
    return Knowledge(replace(seen, labels=torch.tensor([[0]])), GIVEN), 2 * 0.5 * 2**0.5


def last_samples(knowledge: Knowledge, phase: Phase, restarts: int) -> Tensor:
    """The images of all restarts after the last step, in [-1, 1]."""
    ends: list[State] = []
    reconstruct(
        knowledge,
        Recipe((phase,)),
        restarts,
        ("s",),
        pause=lambda state: ends.append(copy.copy(state)),
        policy=EnginePolicy("vmap"),
    )
    assert ends[-1].iteration == phase.iterations
    return ends[-1].x[NOISY].flatten(1)


def linear_phase(knowledge: Knowledge, deviation: float, weight: float, steps: int) -> Phase:
    _, mean, scale = knowledge.pixel_arguments()
    return Phase(
        space=Double(Analytic(), 1, mean, scale, shape=(1, SIDE, SIDE), largest=LARGEST),
        distance=Masked(deviation),
        regularizers=((1.0, Carried(mean, scale)),),
        optimizer=PosteriorSampler(weight, None, LARGEST, LEAST),
        iterations=steps,
        iterate="last",
    )


class Double(Denoised):
    """The space with starts in double precision."""

    def start(self, generator: torch.Generator) -> dict[str, Tensor]:
        return {name: value.double() for name, value in super().start(generator).items()}


def dps_moments(
    slope: Tensor, deviation: float, measured: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """Mean and covariance of DPS's samples, by the affine recursion of its step written out with matrices."""
    mean, _ = prior()
    one = torch.eye(DIMENSION, dtype=torch.float64)
    centre, spread = torch.zeros_like(mean), LARGEST**2 * one
    for step in range(steps):
        s, t = (level(place, steps, LARGEST, LEAST) for place in (step, step + 1))
        k = gain(s)
        # score of the prior (D(x) - x) / s^2 and of the likelihood at D(x): k A^T (y - A D(x)) / deviation^2.
        information = k.T @ slope.T @ slope / deviation**2
        matrix = one + (s**2 - t**2) * ((k - one) / s**2 - information @ k)
        shift = (s**2 - t**2) * (
            (mean - k @ mean) / s**2
            + k.T @ slope.T @ measured / deviation**2
            - information @ (mean - k @ mean)
        )
        centre = matrix @ centre + shift
        spread = matrix @ spread @ matrix.T + t**2 * (s**2 - t**2) / s**2 * one
    return centre, spread


@pytest.mark.parametrize("guided", [True, False])
def test_samples_of_the_engine_are_those_of_its_equations(guided: bool) -> None:
    """With the weight of a likelihood they are DPS's, without it those of the prior, but for the same finite number of steps."""
    image, deviation, steps = torch.tensor([0.5, 0.1, -0.1, -0.3], dtype=torch.float64), 0.15, 40
    knowledge, number = linear_scene(image)
    weight = 2.0 * DIMENSION if guided else 0.0
    phase = linear_phase(knowledge, deviation * number, weight, steps)
    slope = torch.diag(MASK) if guided else torch.zeros(DIMENSION, DIMENSION, dtype=torch.float64)
    expected = dps_moments(slope, deviation, slope @ image, steps)
    assert_moments(last_samples(knowledge, phase, 1000), *expected, bias=0.0)


def test_dps_is_not_quite_the_posterior() -> None:
    """It takes the likelihood at D(x) for that of x, as if D(x) were certain: samples are too alike, their mean is a little off.

    More steps do not help; where the update says little, the bias vanishes.
    """
    image, slope = torch.tensor([0.5, 0.1, -0.1, -0.3], dtype=torch.float64), torch.diag(MASK)
    for deviation, narrower, off in ((0.15, (0.54, 0.63), 0.4), (1.0, (0.97, 0.99), 0.02)):
        exact_mean, exact = posterior(slope, deviation, slope @ image)
        mean, covariance = dps_moments(slope, deviation, slope @ image, 1000)
        ratio = covariance.diagonal() / exact.diagonal()
        assert narrower[0] < ratio.min() < ratio.max() < narrower[1]
        assert ((mean - exact_mean) / exact.diagonal().sqrt()).abs().max() < off


# ---- the attack as it is called ----


def smooth(count: int, side: int = 16) -> Tensor:
    coarse = torch.rand(count, 3, 4, 4, generator=seeded())
    return nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)


@cache
def trained(side: int = 16) -> gs.priors.TrainedPrior:
    learner = gs.priors.Denoiser(
        width=8, steps=60, batch_size=16, learning_rate=5e-3, averaging=0.9
    )
    return learner.fit(smooth(60, side), torch.arange(60) % 10)


@cache
def seen(victims: int = 2, sigma: float = 0.0) -> Observation:
    network = build(ModelSpec("convnet", {"width": 4}, 10, 3, 16), seeded(1))
    images, labels = smooth(64)[60 : 60 + victims], torch.tensor([3, 7, 1, 2])[:victims]
    defense = gs.defenses.Gaussian(sigma=sigma) if sigma else None
    return gs.observe(network, images, labels, defense=defense)


TOY = PosteriorSampling(iterations=8, restarts=2)


def test_matches_the_update_better_than_samples_of_the_prior() -> None:
    guided = replace(TOY, iterations=25)(seen(), priors=trained())
    prior_samples = replace(TOY, iterations=25, guidance=0.0)(seen(), priors=trained())
    assert (guided.matching_loss < 0.7 * prior_samples.matching_loss).all()
    assert guided.images.min() >= 0
    assert guided.images.max() <= 1


def test_without_guidance_the_update_changes_nothing() -> None:
    """The samples are those that the denoiser and the starting points alone determine."""
    attack = replace(TOY, guidance=0.0, restarts=1)
    one, other = seen(), seen(sigma=0.5)
    given = [replace(each, labels=torch.tensor([[3], [7]])) for each in (one, other)]
    images = [attack(each, GIVEN, trained()).images for each in given]
    assert torch.equal(images[0], images[1])


@pytest.mark.parametrize("engine", ["vmap", "factored"])
def test_engines_agree(engine: str) -> None:
    reference = TOY(seen(), priors=trained(), engine="loop")
    again = TOY(seen(), priors=trained(), engine=engine)
    torch.testing.assert_close(again.images, reference.images, rtol=0, atol=2e-3)


def test_equal_seeds_draw_alike_in_any_company() -> None:
    both = TOY(seen(), priors=trained(), engine="loop")
    assert torch.equal(both.images, TOY(seen(), priors=trained(), engine="loop").images)
    alone = TOY(seen(1), priors=trained(), engine="loop")
    assert torch.equal(alone.images, both.images[:1])
    other = TOY(seen(), priors=trained(), engine="loop", seed=1)
    assert (other.images - both.images).abs().amax((1, 2, 3)).min() > 0.05


def test_an_attack_that_was_stopped_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradsiege.attacks.progress.SECONDS_BETWEEN_SAVES", 0.0)
    whole = TOY(seen(), priors=trained())
    pause = LoopCheckpointer.pause

    def leave(self: LoopCheckpointer, state: State) -> None:
        pause(self, state)
        if state.iteration == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LoopCheckpointer, "pause", leave)
        with pytest.raises(KeyboardInterrupt):
            TOY(seen(), priors=trained(), resume=tmp_path)
    assert torch.equal(TOY(seen(), priors=trained(), resume=tmp_path).images, whole.images)


def test_the_last_sample_is_returned_and_the_mean_is_that_of_all_restarts() -> None:
    ends: list[State] = []
    knowledge = Knowledge(seen(), gs.ThreatModel(id="t"), (trained(),))
    images = {}
    for estimate in ("sample", "mean"):
        recipe = replace(TOY, restarts=3, estimate=estimate).recipe(knowledge)
        images[estimate] = reconstruct(
            knowledge, recipe, 3, ("s",), pause=lambda state: ends.append(copy.copy(state))
        )
    last = ((ends[-1].x[NOISY] + 1) / 2).clamp(0, 1).view(2, 3, 1, 3, 16, 16)
    assert float(ends[-1].x["sigma"].max()) == 0
    assert not ends[-1].x[ESTIMATE].any()
    best = images["sample"].restart
    torch.testing.assert_close(images["sample"].images, last[torch.arange(2), best])
    torch.testing.assert_close(images["mean"].images, last.mean(1))
    assert torch.equal(images["mean"].matching_loss, images["sample"].matching_loss)


def test_a_counter_replaces_the_distance_and_nothing_else() -> None:
    informed = gs.ThreatModel(disclosure=True)
    knowledge = Knowledge(seen(sigma=0.1), informed, (trained(),))
    attack = replace(TOY, counter="gaussian.likelihood", guidance=2.0)
    (phase,) = plan_of(attack, knowledge).recipe.phases
    assert phase.distance == GaussianLikelihood(0.1)
    assert isinstance(phase.space, Denoised)
    numbers = sum(value[0].numel() for value in knowledge.observation.update.values())
    assert phase.optimizer == PosteriorSampler(2.0 * numbers, 0.5, 10.0, 0.01)
    assert attack(seen(sigma=0.1), informed, trained()).failures == {}


def test_variables_of_a_counter_move_too() -> None:
    """Shadow's map of noise is searched beside the image, and the estimate is that of the clean image."""
    ends: list[State] = []
    disclosed = replace(seen(1), disclosure=gs.defenses.Shadow().disclosure())
    knowledge = Knowledge(disclosed, gs.ThreatModel(disclosure=True), (trained(),))
    attack = replace(TOY, counter="shadow.denoise", total_variation=0.01, restarts=1)
    plan = plan_of(attack, knowledge)
    found = reconstruct(
        plan.knowledge,
        plan.recipe,
        1,
        ("s",),
        pause=lambda state: ends.append(copy.deepcopy(state)),
    )
    noises = [state.x[NOISE] for state in ends if NOISE in state.x]
    assert not noises[0].any()
    assert noises[-1].any()
    torch.testing.assert_close(found.images[0], ((ends[-1].x[NOISY][0] + 1) / 2).clamp(0, 1))


@pytest.mark.parametrize(
    ("priors", "message"),
    [
        ([], r"posterior_sampling needs a prior of the kind denoiser: .*priors\.Denoiser\(\)"),
        ([trained(32)], r"learned images of shape \(3, 32, 32\), the private ones have"),
    ],
)
def test_a_prior_that_is_absent_or_does_not_fit_is_one_sentence(priors: Any, message: str) -> None:
    with pytest.raises(ThreatModelError, match=message):
        TOY(seen(), priors=priors)


def test_what_a_sampler_cannot_do_is_refused() -> None:
    with pytest.raises(ValueError, match="patience must be left out, not 5"):
        PosteriorSampling(patience=5)
    with pytest.raises(ValueError, match="least_noise must be at most largest_noise"):
        PosteriorSampling(least_noise=20.0)
