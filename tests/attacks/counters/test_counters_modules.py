"""Defenses that hide in one module: what they left alone, and the labels that still leak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.func import functional_call

from gradsiege.attacks.counters import censor, precode, soteria
from gradsiege.attacks.counters.plan import AttackPlan
from gradsiege.attacks.recipes import build
from gradsiege.defenses.censor import orthogonal

Scenes = Callable[..., Any]


def plan(scene: Any) -> AttackPlan:
    recipe = build("inverting_gradients", {}, "faithful", 1, scene.knowledge)
    return AttackPlan(scene.knowledge, recipe).with_labels()


def test_soterias_mask_is_the_set_of_zero_columns(defended: Scenes) -> None:
    scene = defended("soteria", {"prune": 60.0}, victims=3)
    name = "body.head.weight"
    for seen, clean in zip(scene.seen.update[name], scene.clean[name], strict=True):
        shown, _ = soteria.masked_view({name: clean}, {name: seen}, name)
        torch.testing.assert_close(shown[name], seen)
        assert not torch.equal(clean, seen)


def test_all_that_soteria_changed_is_left_out(defended: Scenes) -> None:
    scene = defended("soteria", {"prune": 60.0})
    kept = soteria.drop_layer(plan(scene)).update
    assert set(scene.clean) - set(kept) == {"body.head.weight"}
    for name, value in kept.items():
        assert torch.equal(value, scene.clean[name])


@pytest.mark.parametrize("images", [1, 2])
def test_precodes_module_and_head_are_left_out_and_the_label_is_kept(
    images: int, defended: Scenes
) -> None:
    scene = defended("precode", {"units": 16}, victims=6 // images, images=images)
    informed = precode.drop_module(plan(scene))
    assert informed.update
    left_out = set(scene.seen.update) - set(informed.update)
    assert left_out == {name for name in scene.seen.update if name.startswith("body.head.")}
    assert torch.equal(informed.knowledge.observation.labels, scene.labels)


def test_row_sums_alone_would_mistake_precodes_labels(defended: Scenes) -> None:
    """Why the counter brings a label rule of its own."""
    from gradsiege.attacks.labels import row_sum

    scene = defended("precode", {"units": 16}, victims=6)
    assert not torch.equal(row_sum(scene.seen.update, 1), scene.labels)


def test_an_orthogonal_upload_betrays_the_label(defended: Scenes) -> None:
    """Planted: the model is exactly as unsure of the victims as of a grey image."""
    scene = defended("none", victims=2)
    seen = scene.seen
    grey = torch.full((1, 3, 16, 16), 0.5)
    state = {**seen.parameters, **seen.buffers}
    logits = functional_call(scene.knowledge.model(), state, (grey,))
    expected = logits.softmax(-1)[0]
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(10)
    uploads = [
        orthogonal(expected - torch.eye(10)[y], torch.randn(10, generator=generator))
        for y in labels
    ]
    update = {**seen.update, "body.head.bias": torch.stack(uploads)}
    planted = replace(scene, seen=replace(seen, update=update))
    recipe = build("inverting_gradients", {}, "faithful", 1, planted.knowledge)
    found = censor.label_by_orthogonality(AttackPlan(planted.knowledge, recipe))
    assert torch.equal(found, labels[:, None])


def test_faithful_censor_leaks_more_labels_than_chance(defended: Scenes) -> None:
    scene = defended("censor", {"trials": 2}, victims=7)
    informed = censor.norms_and_orthogonality(plan(scene))
    right = (informed.knowledge.observation.labels == scene.labels).sum()
    assert right >= 4


def test_as_released_the_label_is_read_off_the_weight_alone(defended: Scenes) -> None:
    """The bias has a direction of its own, whose sums with the weight's rows mean nothing."""
    scene = defended("censor", {"trials": 2}, arm="as_released", victims=3)
    start = plan(scene)
    informed = censor.norms_and_orthogonality(start)
    by_rows = start.update[start.head.weight].sum(-1).argmin(-1, keepdim=True)
    assert torch.equal(informed.knowledge.observation.labels, by_rows)
