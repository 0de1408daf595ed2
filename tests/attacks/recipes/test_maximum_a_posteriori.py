"""Maximum a posteriori: its objective is the posterior, its prior is what the images were drawn from, and it meets counters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gradsiege.attacks.counters.noise import coordinates
from gradsiege.attacks.engine.engines import ENGINES
from gradsiege.attacks.engine.objective import Problem, Target
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.matching import plan_of
from gradsiege.attacks.recipes.inverting_gradients import InvertingGradients
from gradsiege.attacks.recipes.maximum_a_posteriori import MaximumAPosteriori, noise_of
from gradsiege.attacks.spaces.gaussian_images import GaussianImages
from gradsiege.errors import ThreatModelError
from gradsiege.models import build
from gradsiege.priors.base import TrainedPrior
from gradsiege.priors.class_conditional_gaussian import ClassConditionalGaussian
from gradsiege.protocol.threat_model import ThreatModel

Scenes = Callable[..., Any]
GRANTED = ThreatModel(id="informed", disclosure=True)


def coarse(count: int, seed: int) -> Tensor:
    """Images of the same kind as the victims of `defended`."""
    colours = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(colours, (16, 16), mode="bicubic").clamp(0, 1)


@pytest.fixture(scope="module")
def prior() -> TrainedPrior:
    """Learned from other images than the victims'."""
    labels = torch.arange(400) % 10
    return ClassConditionalGaussian().fit(coarse(400, 5), labels)


def knowing(scene: Any, *priors: TrainedPrior) -> Knowledge:
    return Knowledge(scene.seen, GRANTED, priors)


def test_the_objective_is_the_posterior_up_to_its_constant(
    defended: Scenes, prior: TrainedPrior
) -> None:
    """Between two images, the difference of objectives is that of log p(z) + log p(update | z), in nats per coordinate."""
    scene = defended("gaussian", {"sigma": 0.05}).double()
    seen = replace(scene.seen, labels=scene.labels)
    knowledge = Knowledge(seen, ThreatModel(id="all", labels="given"), (prior,))
    phase = MaximumAPosteriori(deviation=0.05).recipe(knowledge).phases[0]
    model = build(seen.model).double()
    problem = Problem(model, seen, seen.training, phase)
    labels, observed = scene.labels, seen.update
    target = Target(labels, observed, torch.zeros(2, 1, 3, 16, 16).double(), {})
    points = 0.3 * torch.randn(2, 2, 1, 768, generator=torch.Generator().manual_seed(1)).double()
    ours, theirs = [], []
    for point in points:
        _, matching = ENGINES["loop"](problem)({"z": point}, target)
        for victim in range(2):
            mine = {name: value[victim] for name, value in observed.items()}
            candidate = problem.candidate({"z": point[victim]}, labels[victim], mine, {})
            ours.append(matching[victim] + problem.penalty(candidate, candidate.normalised))
            mean, factor = ClassConditionalGaussian.load(prior.weights)
            centre = mean[labels[victim, 0]].double().flatten()
            law = torch.distributions.MultivariateNormal(centre, scale_tril=factor.double())
            log_prior = law.log_prob(candidate.images.flatten())
            noise = matching[victim] * coordinates(mine)
            theirs.append((noise - log_prior) / coordinates(mine))
    differences = [torch.stack(values) - values[0] for values in (ours, theirs)]
    torch.testing.assert_close(differences[0][2], differences[1][2], rtol=1e-5, atol=1e-9)
    # Victims have priors of other centres and one normalisation, so all differences agree.
    torch.testing.assert_close(*differences, rtol=1e-5, atol=1e-7)


def test_the_search_begins_at_the_mean_of_the_class(defended: Scenes, prior: TrainedPrior) -> None:
    knowledge = knowing(defended("none"), prior)
    space = MaximumAPosteriori().recipe(knowledge).phases[0].space
    assert isinstance(space, GaussianImages)
    _, images = space.decode(space.start(torch.Generator()), torch.tensor([4]))
    torch.testing.assert_close(images[0], prior.weights["means"][4])


def decibels(images: Tensor, truth: Tensor) -> float:
    return float(-10 * (images - truth).square().flatten(1).mean(1).log10().mean())


def test_it_beats_the_mean_of_the_class_and_smoothness_under_noise(
    defended: Scenes, prior: TrainedPrior
) -> None:
    scene = defended("gaussian", {"sigma": 0.02})
    seen = replace(scene.seen, labels=scene.labels)
    granted = replace(GRANTED, labels="given")
    settings: dict[str, Any] = {"iterations": 80, "counter": "gaussian.likelihood"}
    common: dict[str, Any] = {"engine": "loop", "device": "cpu"}
    smooth = InvertingGradients(learning_rate=0.2, total_variation=0.03, **settings)
    least = max(
        decibels(smooth(seen, granted, **common).reconstruction.images, scene.truth),
        decibels(prior.weights["means"][scene.labels], scene.truth),
    )
    for estimate in ("mode", "mean"):
        attack = MaximumAPosteriori(learning_rate=0.1, estimate=estimate, **settings)
        found = attack(seen, granted, prior, **common)
        assert decibels(found.reconstruction.images, scene.truth) > least + 3, estimate


def test_the_deviation_is_estimated_where_no_counter_states_it(
    defended: Scenes, prior: TrainedPrior
) -> None:
    noised = knowing(defended("gaussian", {"sigma": 0.05}), prior)
    assert abs(noise_of(noised) / 0.05 - 1) < 0.05
    # Rounding alone is not believed.
    bare = knowing(defended("none"), prior)
    flat = torch.cat([value.flatten() for value in bare.observation.update.values()])
    expected = 1e-3 * float(flat.square().mean().sqrt())
    assert abs(noise_of(bare) / expected - 1) < 1e-4


def test_the_prior_counts_once_beside_the_sum_of_several_rounds(
    defended: Scenes, prior: TrainedPrior
) -> None:
    scene = defended("none")
    several = replace(GRANTED, rounds=4)
    weights = [
        plan_of(MaximumAPosteriori(rounds=rounds), Knowledge(scene.seen, several, (prior,)))
        .recipe.phases[0]
        .regularizers[0][0]
        for rounds in ("first", "joint", "average")
    ]
    assert weights == [1, 0.25, 1]


def test_a_prior_of_another_shape_is_refused(defended: Scenes) -> None:
    small = ClassConditionalGaussian().fit(torch.rand(20, 3, 8, 8), torch.arange(20) % 2)
    with pytest.raises(ThreatModelError, match=r"shape \[3, 8, 8\], not \[3, 16, 16\]"):
        MaximumAPosteriori().recipe(knowing(defended("none"), small))
    with pytest.raises(ThreatModelError, match="needs a prior of the kind class_conditional"):
        MaximumAPosteriori().recipe(knowing(defended("none")))


def test_a_class_that_the_attacker_never_saw_has_the_mean_of_the_others(defended: Scenes) -> None:
    few = ClassConditionalGaussian().fit(coarse(40, 2), torch.arange(40) % 3)
    space = MaximumAPosteriori().recipe(knowing(defended("none"), few)).phases[0].space
    assert isinstance(space, GaussianImages)
    assert len(space.means) == 10
    torch.testing.assert_close(space.means[7], few.weights["means"].mean(0))
