"""PRECODE in batches: the attacker searches for what the client drew, and its own draw explains every tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gradsiege.attacks import counters
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.engine.engines import ENGINES
from gradsiege.attacks.engine.objective import Problem, Target
from gradsiege.attacks.objectives.sampled_codes import CODES, SampledLoss, WithCodes
from gradsiege.attacks.recipes.inverting_gradients import InvertingGradients
from gradsiege.attacks.variables import Variables
from gradsiege.defenses.precode import Precode
from gradsiege.errors import ThreatModelError
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import Step, gradient, split_state

Scenes = Callable[..., Any]
UNITS = 16


def scene_of(defended: Scenes, images: int = 2, **more: Any) -> Any:
    return defended("precode", {"units": UNITS}, images=images, **more)


def informed(scene: Any) -> AttackPlan:
    recipe = InvertingGradients(iterations=3).recipe(scene.knowledge)
    return counters.apply("precode.sampled_codes", AttackPlan(scene.knowledge, recipe))


def drawn(images: int = 2) -> Tensor:
    """What every client of a scene drew: its generator's first numbers."""
    return torch.randn(images, UNITS, generator=torch.Generator().manual_seed(7))


def problem_at(
    plan: AttackPlan, images: Tensor, codes: Tensor
) -> tuple[Problem, Variables, Target]:
    seen = plan.knowledge.observation
    assert seen.labels is not None
    assert seen.training is not None
    model = build(seen.model).to(images.dtype)
    _, mean, deviation = plan.knowledge.pixel_arguments()
    pixels = (images - mean[:, None, None]) / deviation[:, None, None]
    x = {"x": pixels, CODES: codes.expand(len(images), *codes.shape).clone()}
    target = Target(seen.labels, seen.update, torch.zeros_like(images), {})
    return Problem(model, seen, seen.training, plan.recipe.phases[0]), x, target


def test_the_loss_with_the_clients_draw_has_the_clients_gradient() -> None:
    """Bit for bit up to rounding, in float64, against the defense's own hook."""
    defense = Precode(units=UNITS, beta=0.1)
    spec = defense.wrap_model(ModelSpec("convnet", {"width": 4}, 10, 3, 16))
    network = build(spec, torch.Generator().manual_seed(1)).double()
    parameters, buffers = split_state(network)
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(3, 3, 16, 16, generator=generator).double(), torch.tensor([3, 1, 3])

    class Drawing:
        generator = torch.Generator().manual_seed(7)

    step = Step(network, parameters, buffers, images, labels)
    expected = defense.transform_gradient({}, step, Drawing())
    loss = SampledLoss(0.1)({}, {CODES: drawn(3).double()})
    found, _ = gradient(network, parameters, buffers, images, labels, loss)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-15)
        assert value.abs().max() > 0


@pytest.mark.parametrize("engine", ["loop", "vmap", "factored"])
def test_the_truth_with_its_draw_leaves_nothing_to_match(engine: str, defended: Scenes) -> None:
    scene = scene_of(defended).double()
    scene = replace(scene, seen=replace(scene.seen, labels=scene.labels))
    plan = informed(scene)
    plan = replace(plan, knowledge=replace(plan.knowledge, observation=scene.seen))
    problem, x, target = problem_at(plan, scene.truth, drawn().double())
    gradients, right = ENGINES[engine](problem)(x, target)
    assert right.abs().max() < 1e-9
    assert gradients[CODES].shape == (2, 2, UNITS)
    for other in ({**x, CODES: 0 * x[CODES]}, {**x, "x": x["x"].flip(0)}):
        assert ENGINES[engine](problem)(other, target)[1].min() > 1e-3


def test_the_gradient_of_the_draw_is_that_of_differences(defended: Scenes) -> None:
    """Prior included: |e|^2 / 2 beside the match, in nats per coordinate."""
    scene = scene_of(defended).double()
    plan = informed(scene)
    problem, x, target = problem_at(plan, scene.truth, drawn().double())
    gradients, _ = ENGINES["loop"](problem)(x, target)
    direction = torch.randn(x[CODES].shape, generator=torch.Generator().manual_seed(3)).double()

    def total(step: float) -> Tensor:
        moved = {**x, CODES: x[CODES] + step * direction}
        matching = ENGINES["loop"](problem)(moved, target)[1]
        count = sum(value[0].numel() for value in target.observed.values())
        return matching + moved[CODES].square().sum((1, 2)) / (2 * count)

    slopes = (total(1e-5) - total(-1e-5)) / 2e-5
    torch.testing.assert_close(
        slopes, (gradients[CODES] * direction).sum((1, 2)), rtol=1e-5, atol=0
    )


def test_labels_are_counted_from_the_heads_bias(defended: Scenes) -> None:
    scene = scene_of(defended, images=3)
    labels = informed(scene).knowledge.observation.labels
    assert labels is not None
    assert torch.equal(labels, scene.labels.sort(1).values)


def test_draws_begin_at_zero_are_kept_and_are_not_projected(defended: Scenes) -> None:
    plan = informed(scene_of(defended))
    space = plan.recipe.phases[0].space
    assert isinstance(space, WithCodes)
    x = space.start(torch.Generator().manual_seed(0))
    assert torch.equal(x[CODES], torch.zeros(2, UNITS))
    moved = {**x, CODES: x[CODES] + 9}
    assert torch.equal(space.project(moved)[CODES], moved[CODES])
    assert torch.equal(space.follow(moved)[CODES], moved[CODES])


def test_several_local_steps_are_refused(defended: Scenes) -> None:
    with pytest.raises(ThreatModelError, match="one local step, not of 2"):
        informed(scene_of(defended, steps=2))
