"""Modern Inverting Gradients: the whole attack against a textbook loop of the framework's formulas, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from textbook import Textbook, gradients, run, scene
from torch import Tensor

from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.objectives.regularizers import (
    Candidate,
    double_opponent_total_variation,
)
from gradsiege.attacks.recipes.modern_inverting_gradients import ModernInvertingGradients
from gradsiege.attacks.reconstruct import reconstruct, starting_points
from gradsiege.protocol.reconstruction import Reconstruction
from gradsiege.protocol.threat_model import ThreatModel


def isotropic(images: Tensor) -> Tensor:
    """Mean of ((|dx| + e)^2 + (|dy| + e)^2)^0.5 over pixels and six channels, pixel by pixel."""
    red, green, blue = images[0]
    rows, columns = red.shape
    terms = []
    for plane in (red, green, blue, red - green, red - blue, green - blue):
        for row in range(rows):
            for column in range(columns):
                here = plane[row, column]
                right = plane[row, column + 1] - here if column + 1 < columns else here * 0
                below = plane[row + 1, column] - here if row + 1 < rows else here * 0
                terms.append(((right.abs() + 1e-8) ** 2 + (below.abs() + 1e-8) ** 2) ** 0.5)
    return torch.stack(terms).mean()


def textbook(attack: ModernInvertingGradients, knowledge: Knowledge) -> Textbook:
    """The framework's loop from the attack's own starting point."""
    model, seen, _ = scene()
    phase = attack.recipe(knowledge).phases[0]
    start = starting_points(phase, 1, 1, ("s",))["x"][0].double()
    mean, deviation = (value.view(1, 3, 1, 1) for value in knowledge.pixel_arguments()[1:])
    observed = {name: value[0] for name, value in seen.update.items()}
    weight, bias = (observed[name] for name in list(observed)[-2:])
    kept: list[Tensor] = []
    head = [part for part in model.modules() if isinstance(part, torch.nn.Linear)][-1]
    handle = head.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0]))

    def losses(x: Tensor) -> tuple[Tensor, Tensor]:
        candidate = gradients(model, x * deviation + mean)
        product = sum((candidate[name] * value).sum() for name, value in observed.items())
        ours = sum(value.square().sum() for value in candidate.values())
        theirs = sum(value.square().sum() for value in observed.values())
        matching = 1 - product / (ours.sqrt() * theirs.sqrt())
        features = (kept[-1] - weight[0] / bias[0]).square().mean()
        return matching + attack.total_variation * isotropic(
            x
        ) + attack.features * features, matching

    def rate(iteration: int) -> float:
        warm = min(1.0, (iteration + 1) / attack.warm_up)
        return (
            attack.learning_rate
            * warm
            * (1 + math.cos(math.pi * iteration / attack.iterations))
            / 2
        )

    def soft(slope: Tensor, iteration: int) -> Tensor:
        scale = 1 - iteration / attack.iterations
        return (scale * slope).tanh() / scale

    box = ((0 - mean) / deviation, (1 - mean) / deviation)
    passed = run(start, losses, attack.iterations, rate, soft, box)
    handle.remove()
    return passed


def attacked(attack: ModernInvertingGradients, knowledge: Knowledge) -> Reconstruction:
    return reconstruct(knowledge, attack.recipe(knowledge), 1, ("s",))


# Weights at which the soft sign, whose argument is a gradient, is far from the identity.
HEAVY = ModernInvertingGradients(
    iterations=8, warm_up=3, total_variation=300.0, features=0.0, learning_rate=0.9
)


@pytest.mark.parametrize("attack", [ModernInvertingGradients(iterations=8, warm_up=3), HEAVY])
def test_the_attack_is_the_framework_s_loop(attack: ModernInvertingGradients) -> None:
    _, seen, _ = scene()
    knowledge = Knowledge(seen, ThreatModel(id="t"))
    passed = textbook(attack, knowledge)
    found = attacked(attack, knowledge)
    place = min(range(len(passed.objectives)), key=passed.objectives.__getitem__)
    _, mean, deviation = knowledge.pixel_arguments()
    expected = passed.iterates[place] * deviation.view(3, 1, 1) + mean.view(3, 1, 1)
    torch.testing.assert_close(found.images[0], expected, rtol=0, atol=1e-9)
    assert int(found.iteration[0]) == place
    assert float(found.matching_loss[0]) == pytest.approx(passed.matching[place], abs=1e-12)


def test_the_least_objective_is_kept_where_the_matching_loss_is_another_s() -> None:
    """With priors this heavy the two orders differ, so that the test before tells them apart."""
    _, seen, _ = scene()
    passed = textbook(HEAVY, Knowledge(seen, ThreatModel(id="t")))
    assert passed.objectives.index(min(passed.objectives)) != passed.matching.index(
        min(passed.matching)
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_isotropic_total_variation_does_not_depend_on_the_axes(channels: int) -> None:
    images = torch.rand(2, channels, 5, 5, generator=torch.Generator().manual_seed(0)).double()
    one = double_opponent_total_variation(Candidate(images, images, torch.zeros(2), {}))
    turned = images.transpose(2, 3)
    other = double_opponent_total_variation(Candidate(turned, turned, torch.zeros(2), {}))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=0)
    if channels == 3:
        expected = (isotropic(images[:1]) + isotropic(images[1:])) / 2
        torch.testing.assert_close(one, expected, rtol=1e-12, atol=0)


def test_isotropic_total_variation_has_a_derivative_on_a_flat_image() -> None:
    flat = torch.full((1, 3, 4, 4), 0.5, requires_grad=True)
    double_opponent_total_variation(Candidate(flat, flat, torch.zeros(1), {})).backward()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()
