"""GradInversion: the whole attack, group consistency included, against a textbook loop of the framework's formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from textbook import gradients, run, scene
from torch import Tensor, nn

from gradsiege.attacks.engine.loop import State
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.recipes.gradinversion import Gradinversion
from gradsiege.attacks.reconstruct import reconstruct, starting_points
from gradsiege.protocol.threat_model import ThreatModel
from gradsiege.seeds import torch_generator

SEED = ("s",)
# Constants at which every term and the noise move the images within a few iterations.
STRONG: dict[str, Any] = {
    "matching": 0.3,
    "total_variation": 0.1,
    "l2": 0.5,
    "batch_norm_weight": 0.2,
    "langevin": 2.0,
    "warm_up": 3,
}


def batch_norm_prior(model: nn.Module, images: Tensor) -> Tensor:
    """Distances of means and biased variances to the running ones, the first layer's ten times."""
    seen: list[tuple[nn.BatchNorm2d, Tensor]] = []
    layers = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    handles = [
        part.register_forward_pre_hook(lambda module, inputs: seen.append((module, inputs[0])))
        for part in layers
    ]
    model(images)
    for handle in handles:
        handle.remove()
    total = images.new_zeros(())
    for place, (layer, value) in enumerate(seen):
        values = value.transpose(0, 1).flatten(1)
        mean, variance = values.mean(1), values.var(1, unbiased=False)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        distance = (mean - layer.running_mean).norm() + (variance - layer.running_var).norm()
        total = total + (10 if place == 0 else 1) * distance
    return total


def textbook(attack: Gradinversion, knowledge: Knowledge) -> tuple[list[Tensor], list[Tensor]]:
    """Iterates ``[restarts, 3, s, s]``, normalised, and matching losses ``[restarts]`` from the attack's own starting points."""
    model, seen, _ = scene("resnet18")
    phase = attack.recipe(knowledge).phases[0]
    start = starting_points(phase, 1, attack.restarts, SEED)["x"][:, 0].double()
    mean, deviation = (value.view(1, 3, 1, 1) for value in knowledge.pixel_arguments()[1:])
    observed = {name: value[0] for name, value in seen.update.items()}
    first = min(attack.group_first, attack.iterations // 2)
    passed: list[Tensor] = []
    averages: list[Tensor] = []

    def of_image(x: Tensor) -> tuple[Tensor, Tensor]:
        candidate = gradients(model, x * deviation + mean)
        errors = [(candidate[name] - value).square().sum() for name, value in observed.items()]
        matching = attack.matching * torch.stack(errors).sum() / 2
        variation = (x[..., 1:] - x[..., :-1]).abs().mean()
        variation = variation + (x[..., 1:, :] - x[..., :-1, :]).abs().mean()
        priors = attack.total_variation * variation + attack.l2 * (x**2).mean() / 2
        statistics = batch_norm_prior(model, x * deviation + mean)
        return matching + priors + attack.batch_norm_weight * statistics, matching

    def losses(x: Tensor) -> tuple[Tensor, Tensor]:
        iteration = len(passed)
        objectives, matching = zip(*(of_image(image[None]) for image in x), strict=True)
        passed.append(torch.stack(matching).detach())
        total = torch.stack(objectives).sum()
        if attack.restarts > 1 and iteration >= first:
            if (iteration - first) % attack.group_every == 0:
                averages.append(x.detach().mean(0))
            distances = [(image - averages[-1]).norm() for image in x]
            total = total + attack.group * torch.stack(distances).sum()
        return total, torch.stack(matching).sum()

    def rate(iteration: int) -> float:
        warm = min(1.0, (iteration + 1) / attack.warm_up)
        return (
            attack.learning_rate
            * warm
            * (1 + math.cos(math.pi * iteration / attack.iterations))
            / 2
        )

    def noisy(slope: Tensor, iteration: int) -> Tensor:
        noise = torch.randn(slope.shape, generator=torch_generator(*SEED, 0, "langevin", iteration))
        return slope + attack.langevin * rate(iteration) * noise

    box = ((0 - mean) / deviation, (1 - mean) / deviation)
    return run(start, losses, attack.iterations, rate, noisy, box).iterates, passed


@pytest.mark.parametrize("settings", [{}, STRONG])
def test_the_attack_is_the_framework_s_loop(settings: dict[str, Any]) -> None:
    attack = Gradinversion(iterations=6, **settings)
    knowledge = Knowledge(scene("resnet18")[1], ThreatModel(id="t"))
    iterates, matching = textbook(attack, knowledge)
    found = reconstruct(knowledge, attack.recipe(knowledge), 1, SEED)
    place = int(torch.cat(matching).argmin())
    _, mean, deviation = knowledge.pixel_arguments()
    expected = iterates[place] * deviation.view(3, 1, 1) + mean.view(3, 1, 1)
    assert int(found.iteration[0]) == place
    assert float(found.matching_loss[0]) == pytest.approx(float(matching[place]), rel=1e-9)
    torch.testing.assert_close(found.images[0], expected, rtol=0, atol=1e-7)


def test_restarts_are_pulled_to_their_mean() -> None:
    """Of six iterations the group begins at the third, and is averaged again at the fifth."""
    attack = Gradinversion(iterations=6, restarts=2, group=1.0, group_every=2, **STRONG)
    knowledge = Knowledge(scene("resnet18")[1], ThreatModel(id="t"))
    iterates, _ = textbook(attack, knowledge)
    ends: list[Tensor] = []

    def record(state: State) -> None:
        ends.append(state.x["x"].clone())

    reconstruct(knowledge, attack.recipe(knowledge), 2, SEED, pause=record)
    torch.testing.assert_close(ends[-1][:, 0], iterates[-1], rtol=0, atol=1e-7)
    assert (ends[-1][0] - ends[-1][1]).abs().max() > 0.1


def test_one_start_has_no_group() -> None:
    knowledge = Knowledge(scene("resnet18")[1], ThreatModel(id="t"))
    assert Gradinversion(restarts=1, group=5.0).recipe(knowledge).phases[0].group is None
    assert Gradinversion(restarts=2, group=0.0).recipe(knowledge).phases[0].group is None
    group = Gradinversion(restarts=2, iterations=400).recipe(knowledge).phases[0].group
    assert group is not None
    assert group.first == 200
