"""ATS: the attacker's candidate passes through the augmentation that the client has likely drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from gradsiege.attacks import counters
from gradsiege.attacks.counters import ats
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.engine.engines import ENGINES
from gradsiege.attacks.engine.objective import Problem, Target
from gradsiege.attacks.objectives.drawn_transforms import DRAWS
from gradsiege.attacks.recipes.inverting_gradients import InvertingGradients
from gradsiege.models import build
from gradsiege.protocol.local_update import local_update

Scenes = Callable[..., Any]
RELEASED = ["3-1-7", "43-18-18"]
EVERY = ats.hypotheses(RELEASED)


def informed(scene: Any, iterations: int = 7) -> AttackPlan:
    recipe = InvertingGradients(iterations=iterations).recipe(scene.knowledge)
    return counters.apply("ats.likeliest_draw", AttackPlan(scene.knowledge, recipe))


def test_half_of_the_iterations_find_the_augmented_image(defended: Scenes) -> None:
    plan = informed(defended("ats"))
    first, second = plan.recipe.phases
    assert (first.iterations, second.iterations) == (4, 3)
    assert first.loss is None
    assert plan.recipe.keep == "last"


@pytest.mark.parametrize("engine", ["loop", "vmap", "factored"])
def test_the_raw_image_with_its_draw_leaves_nothing_to_match(engine: str, defended: Scenes) -> None:
    """Planted: the client's own augmentation, and every other one, at the true raw image."""
    policies = {"policies": ["43-18"]}
    scene = defended("ats", policies).double()
    known = ats.hypotheses(policies["policies"])
    plan = informed(scene)
    seen = plan.knowledge.observation
    assert seen.labels is not None
    assert seen.training is not None
    _, mean, deviation = plan.knowledge.pixel_arguments()
    pixels = (scene.truth - mean[:, None, None]) / deviation[:, None, None]
    problem = Problem(build(seen.model).double(), seen, seen.training, plan.recipe.phases[1])
    target = Target(seen.labels, seen.update, torch.zeros_like(pixels), {})
    losses = []
    for number in range(len(known)):
        draws = torch.zeros(2, 1, len(known)).double()
        draws[..., number] = 1
        gradients, matching = ENGINES[engine](problem)({"x": pixels, DRAWS: draws}, target)
        assert gradients[DRAWS].abs().max() == 0
        losses.append(matching)
    least, second = torch.stack(losses).sort(0).values[:2]
    assert least.abs().max() < 1e-8
    assert second.min() > 1e-5


@pytest.mark.parametrize("number", [6, 12])
def test_the_update_decides_between_augmentations(number: int, defended: Scenes) -> None:
    """Planted: errors on the image found, which a policy that keeps nearly all pixels explains whatever was drawn."""
    scene = defended("none", victims=1)
    truth = scene.truth.flatten(0, 1)
    clean = ats.augment(truth, EVERY[number])
    model, seen = build(scene.seen.model), scene.seen
    update, _ = local_update(
        model, seen.parameters, seen.buffers, clean, scene.labels[0], seen.training
    )
    stated = {"defense": "ats", "policies": RELEASED}
    update = {name: value[None].detach() for name, value in update.items()}
    scene = replace(scene, seen=replace(seen, update=update, disclosure=stated))
    plan = informed(scene)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    found = (clean + 0.08 * noise).clamp(0, 1)
    left = torch.stack([ats.undo(found, hypothesis)[1] for hypothesis in EVERY])
    assert left.argmin() >= 8
    x = ats._raw(EVERY, plan, scene.knowledge.pixels(), {}, found[:, None])
    assert (x[DRAWS].argmax(-1) < 8).all() == (number < 8)
    assert x["x"].shape == (1, 1, 3, 16, 16)
