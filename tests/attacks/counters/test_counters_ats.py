"""ATS is turned back: planted augmentations are recognised, and the raw image returns as far as it was kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from gradsiege.attacks.counters import ats
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.recipes import build
from gradsiege.defenses.ats import Ats
from gradsiege.errors import ThreatModelError

Scenes = Callable[..., Any]
RELEASED = ["3-1-7", "43-18-18"]


def test_every_augmentation_that_a_client_draws_is_among_the_hypotheses(defended: Scenes) -> None:
    image = defended("none").truth[0]
    known = [ats.augment(image, one) for one in ats.hypotheses(RELEASED)]
    assert len(known) == 16
    defense = Ats()
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        drawn = defense._augment(image[0], generator)
        assert any(torch.equal(drawn, one[0]) for one in known)


@pytest.mark.parametrize("number", [0, 5, 6])
def test_a_planted_augmentation_is_recognised_and_undone(number: int, defended: Scenes) -> None:
    """Two translations with a contrast between them: the black borders and their level tell all three signs."""
    truth = defended("none", victims=2).truth
    planted = ats.hypotheses(RELEASED[:1])[number]
    found = ats.augment(truth.flatten(0, 1), planted)
    left = [ats.undo(found, one)[1] for one in ats.hypotheses(RELEASED[:1])]
    assert torch.stack(left).argmin(0).tolist() == [number, number]
    raw, _ = ats.undo(found, planted)
    # What the translations push out of the image (every second pixel) and what the contrast clips is lost, nothing else.
    error = (raw - truth.flatten(0, 1)).square()
    assert error.mean() < 0.5 * (found - truth.flatten(0, 1)).square().mean()
    assert error.flatten().quantile(0.4) < 1e-3


def test_the_images_found_are_finished_and_nothing_else_changes(defended: Scenes) -> None:
    scene = defended("ats", {"policies": ["43"]})
    recipe = build("inverting_gradients", {}, "faithful", 1, scene.knowledge)
    start = AttackPlan(scene.knowledge, recipe)
    informed = ats.undo_policy(start)
    assert replace(informed, finish=start.finish) == start
    moved = ats.augment(scene.truth[:, 0], ((43, -1),))
    back = informed.finish(moved[:, None])[:, 0]
    assert back.shape == moved.shape
    inner = slice(4, -4)
    torch.testing.assert_close(
        back[:, :, inner, inner], scene.truth[:, 0, :, inner, inner], rtol=0, atol=0.02
    )
    assert torch.equal(start.finish(moved), moved)


def test_operations_on_levels_keep_the_image(defended: Scenes) -> None:
    """Equalize has no derivative; an image that it explains already must not be smoothed away."""
    truth = defended("none").truth[0]
    inverted, _ = ats.undo(truth, ((47, 1),))
    torch.testing.assert_close(inverted, 1 - truth, rtol=0, atol=0.02)
    equalized = ats.augment(truth, ((9, 1),))
    raw, left = ats.undo(equalized, ((9, 1),))
    assert left < 2e-3
    assert (raw - equalized).abs().mean() < 0.1


def test_three_random_entries_are_too_many_to_try(defended: Scenes) -> None:
    scene = defended("ats", {"policies": []})
    recipe = build("inverting_gradients", {}, "faithful", 1, scene.knowledge)
    with pytest.raises(ThreatModelError, match="too many to try"):
        ats.undo_policy(AttackPlan(scene.knowledge, recipe))
