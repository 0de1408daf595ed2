"""Compressed updates: what was received binds the candidate, what was lost does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from gradsiege.attacks.counters import clipping, quantization, sign, sparsification, top_k
from gradsiege.attacks.counters.plan import AttackPlan, Viewed
from gradsiege.attacks.objectives.distances import cosine, squared_l2
from gradsiege.attacks.recipes import build
from gradsiege.defenses.quantization import quantize
from gradsiege.protocol.local_update import Tensors

Scenes = Callable[..., Any]
HEAD = "body.head.weight"


def plan(scene: Any, attack: str = "inverting_gradients") -> AttackPlan:
    recipe = build(attack, {}, "faithful", 1, scene.knowledge)
    return AttackPlan(scene.knowledge, recipe).with_labels()


def one(update: Tensors, victim: int = 0) -> Tensors:
    return {name: value[victim] for name, value in update.items()}


@pytest.mark.parametrize(
    ("defense", "settings", "idea", "view"),
    [
        ("sparsification", {"percent": 90.0}, sparsification.on_support, sparsification),
        ("top_k", {"fraction": 0.1}, top_k.on_support, top_k),
    ],
)
def test_off_the_support_only_what_would_have_been_uploaded_counts(
    defense: str, settings: Any, idea: Any, view: Any, defended: Scenes
) -> None:
    scene = defended(defense, settings).double()
    clean, seen = one(scene.clean), one(scene.seen.update)
    for base in (cosine, squared_l2):
        distance = Viewed(base, view.support_view)
        assert distance(clean, seen).abs() < 1e-9 < base(clean, seen)
    distance = idea(plan(scene)).recipe.phases[0].distance
    lost = (seen[HEAD] == 0).nonzero()[0]
    ranked = [HEAD] if defense == "sparsification" else list(seen)
    magnitudes = torch.cat([seen[name].abs().flatten() for name in ranked])
    limit = magnitudes[magnitudes > 0].min()
    for factor, told in ((-0.99, False), (0.99, False), (3.0, True), (-3.0, True)):
        moved = {**clean, HEAD: clean[HEAD].clone()}
        moved[HEAD][tuple(lost)] = factor * limit
        assert bool(distance(moved, seen) > 1e-9) == told


def test_a_tensor_that_vanished_whole_is_bounded_by_the_others() -> None:
    seen = {"a": torch.tensor([2.0, 3.0]), "b": torch.zeros(2)}
    candidate = {"a": torch.tensor([2.0, 3.0]), "b": torch.tensor([1.0, -5.0])}
    assert top_k.support_view(candidate, seen)[0]["b"].tolist() == [0.0, -3.0]
    # Ranked by itself, no tensor vanishes: one of zeros had nothing but zeros, or says nothing of its scale.
    assert sparsification.support_view(candidate, seen)[0]["b"].tolist() == [0.0, 0.0]


def test_signs_bind_the_candidate_whatever_the_scale_of_its_tensors(defended: Scenes) -> None:
    scene = defended("sign").double()
    clean, seen = one(scene.clean), one(scene.seen.update)
    distance = sign.sign_consistent(plan(scene)).recipe.phases[0].distance
    right = distance(clean, seen)
    scaled = {name: value * 10.0**place for place, (name, value) in enumerate(clean.items())}
    torch.testing.assert_close(distance(scaled, seen), right)
    assert distance({name: -value for name, value in clean.items()}, seen) > 1.5
    assert right < cosine(clean, seen)
    # The true signs at one magnitude are what soft signs can match best.
    equal = {name: value.sign() for name, value in clean.items()}
    assert distance(equal, seen) < right


def test_the_step_of_every_tensor_is_read_off_the_update(defended: Scenes) -> None:
    scene = defended("quantization", {"levels": 16})
    for name, value in scene.seen.update.items():
        for received, clean in zip(value, scene.clean[name], strict=True):
            torch.testing.assert_close(quantization.step_of(received, 16), clean.norm() / 16)


def test_the_likelihood_of_rounding_is_the_frequency_of_its_outcomes() -> None:
    value = torch.tensor([0.3, -0.55, 1.0, 0.02])
    generator = torch.Generator().manual_seed(0)
    step = value.norm() / 4
    draws = torch.stack([quantize(value, 4, generator) for _ in range(4000)])
    for place, truth in enumerate(value):
        for level in draws[:, place].unique():
            expected = (draws[:, place] == level).float().mean()
            found = quantization.rounding_likelihood(truth[None], level[None], step)
            if expected > 2 * quantization.LEAST:
                torch.testing.assert_close((-found).exp(), expected, rtol=0, atol=0.03)


def test_a_candidate_outside_its_cells_is_drawn_back() -> None:
    """The loss goes on growing outside, so that an attack that starts there has a gradient."""
    seen = {"a": torch.tensor([1.0, 2.0]), "b": torch.zeros(1)}
    distance = quantization.CellDistance(2)
    places = [1.0, 1.9, 2.5, 9.0]
    losses = []
    for place in places:
        candidate = {"a": torch.tensor([place, 2.0]), "b": torch.tensor([7.0])}
        losses.append(float(distance(candidate, seen)))
    assert losses[0] == 0
    assert losses == sorted(losses)
    assert len(set(losses)) == len(losses)


@pytest.mark.parametrize(("bound", "clipped"), [(0.5, True), (1e3, False)])
def test_l2_recipes_lose_nothing_to_clipping(bound: float, clipped: bool, defended: Scenes) -> None:
    scene = defended("clipping", {"bound": bound}).double()
    clean, seen = one(scene.clean), one(scene.seen.update)
    plain = plan(scene, "idlg")
    informed = clipping.scale_free(plain).recipe.phases[0].distance
    assert informed(clean, seen) < 1e-9
    assert bool(plain.recipe.phases[0].distance(clean, seen) > 1e-2) == clipped
    longer = {name: 2 * value for name, value in clean.items()}
    assert bool(informed(longer, seen) < 1e-9) == clipped
