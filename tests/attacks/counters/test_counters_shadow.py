"""Shadow's noise is told from the image: a planted one is taken out, and nothing of it is returned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from gradsiege.attacks.counters import shadow
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.engine.autotune import EnginePolicy
from gradsiege.attacks.objectives.regularizers import Candidate, total_variation
from gradsiege.attacks.recipes import build
from gradsiege.attacks.reconstruct import reconstruct
from gradsiege.errors import StudyError
from gradsiege.models import build as build_model
from gradsiege.protocol.local_update import local_update

Scenes = Callable[..., Any]
SETTINGS = {"learning_rate": 0.2, "total_variation": 0.01}


def disclosed(scrambled: bool = False) -> dict[str, Any]:
    return {"defense": "shadow", "amplitude": 0.19, "scrambled_map": scrambled}


def plan(scene: Any, iterations: int) -> AttackPlan:
    recipe = build("inverting_gradients", SETTINGS, "faithful", iterations, scene.knowledge)
    return AttackPlan(scene.knowledge, recipe).with_labels()


def spotted(scene: Any) -> Any:
    """The updates of images with a bright spot on every fortieth pixel, all channels alike."""
    seen = scene.seen
    spots = torch.rand(len(scene.truth), 1, 1, 16, 16, generator=torch.Generator().manual_seed(3))
    noisy = scene.truth + 0.2 * (spots > 0.975)
    model = build_model(seen.model)
    updates = [
        local_update(model, seen.parameters, seen.buffers, x, y, seen.training)[0]
        for x, y in zip(noisy, scene.labels, strict=True)
    ]
    update = {name: torch.stack([one[name] for one in updates]) for name in updates[0]}
    return replace(scene, seen=replace(seen, update=update, disclosure=disclosed())), noisy


def errors(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return (found - wanted).square().flatten(1).mean(1)


def test_planted_spots_are_taken_out(defended: Scenes) -> None:
    scene, noisy = spotted(defended("none", victims=2, shape={"width": 32}))
    start = plan(scene, 150)
    policy = EnginePolicy("factored")
    plain = reconstruct(start.knowledge, start.recipe, 1, ("s",), policy=policy)
    told = shadow.denoise(start)
    informed = reconstruct(told.knowledge, told.recipe, 1, ("s",), policy=policy)
    # The plain attack finds the noisy image, as it should; only the informed one comes closer to the clean one.
    blind, aware = (errors(one.images, scene.truth).mean() for one in (plain, informed))
    assert errors(plain.images, noisy).mean() < blind
    assert aware < errors(informed.images, noisy).mean()
    assert aware < 0.75 * blind


@pytest.mark.parametrize(("scrambled", "maps"), [(False, 1), (True, 3)])
def test_the_network_sees_the_noise_and_the_regularizers_do_not(
    scrambled: bool, maps: int, defended: Scenes
) -> None:
    scene = defended("none")
    scene = replace(scene, seen=replace(scene.seen, disclosure=disclosed(scrambled)))
    informed = shadow.denoise(plan(scene, 5))
    first, last = informed.recipe.phases
    x = first.space.start(torch.Generator().manual_seed(0))
    assert x[shadow.NOISE].shape == (1, maps, 16, 16)
    _, clean = first.space.decode(x, scene.labels[0])
    x[shadow.NOISE] += 0.4
    normalised, noisy = first.space.decode(x, scene.labels[0])
    torch.testing.assert_close(noisy - clean, torch.full_like(clean, 0.4 * 0.25))
    assert torch.equal(normalised, x["x"])
    candidate = Candidate(normalised, noisy, scene.labels[0], {}, x)
    terms = {term: weight for weight, term in first.regularizers}
    assert shadow.noise_size(candidate) == pytest.approx(0.4)
    assert terms[shadow.noise_size] == pytest.approx(shadow.PRICE * terms[total_variation])
    # A last stage, which takes no step and knows no noise, decodes the returned images.
    assert (last.iterations, informed.recipe.keep) == (0, "last")
    assert list(last.space.follow({k: v[None] for k, v in x.items()})) == ["x"]


def test_an_attack_without_total_variation_is_refused(defended: Scenes) -> None:
    scene = defended("none")
    scene = replace(scene, seen=replace(scene.seen, disclosure=disclosed()))
    recipe = build("idlg", {}, "faithful", 5, scene.knowledge)
    with pytest.raises(StudyError, match="tell noise from image by the total variation"):
        shadow.denoise(AttackPlan(scene.knowledge, recipe))


def test_noise_stays_between_zero_and_what_was_disclosed(defended: Scenes) -> None:
    scene = defended("none")
    scene = replace(scene, seen=replace(scene.seen, disclosure=disclosed()))
    informed = shadow.denoise(plan(scene, 5))
    space = informed.recipe.phases[0].space
    x = {
        "x": torch.zeros(1, 1, 3, 16, 16),
        shadow.NOISE: torch.linspace(-5, 5, 256).view(1, 1, 1, 16, 16),
    }
    bound = space.project(x)[shadow.NOISE]
    assert bound.min() == 0
    # 0.19 * exp(1) * the white pixel, (1 - 0.5) / 0.25.
    assert bound.max() == pytest.approx(0.19 * 2.71828 * 2, rel=1e-4)
