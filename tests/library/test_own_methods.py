"""Mistakes in an attack or a defense of one's own, and in a folder to resume: each is one sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_classifiers import small

import gradsiege as gs
from gradsiege.attacks.base import Attack, Learned
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.recipe import Recipe
from gradsiege.checkpoints import FolderProgress
from gradsiege.defenses.base import Client, Defense
from gradsiege.errors import ArtifactError, GradSiegeError, ModelError, UsageError
from gradsiege.protocol.local_update import Tensors

IMAGES = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
REAL = gs.attacks.InvertingGradients(iterations=2)


def returning(change: Callable[[Recipe], object]) -> Attack:
    """An attack whose recipe is a changed one."""

    class Returning(Attack):
        def recipe(self, knowledge: Knowledge) -> Any:
            return change(REAL.recipe(knowledge))

    return Returning()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda recipe: None, r"Returning\.recipe returns None; return .*Recipe"),
        (lambda recipe: recipe.phases[0], r"Returning\.recipe returns Phase"),
        (lambda recipe: Recipe(()), "one phase or more"),
        (lambda recipe: replace(recipe, phases=(3,)), "has 3 among its phases"),
        (lambda recipe: recipe.with_phases(optimizer=torch.optim.Adam), "optimizer .*such as Adam"),
    ],
)
def test_a_recipe_that_cannot_be_run_is_refused(
    change: Callable[[Recipe], object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        returning(change)(gs.observe(small(), IMAGES, [1]))


@pytest.mark.parametrize(("base", "method"), [(Attack, "recipe"), (Learned, "learn")])
def test_an_attack_without_its_method_is_refused(base: type[Attack], method: str) -> None:
    class Bare(base):  # a mistake of a user
        pass

    seen = gs.observe(small(), IMAGES, [1])
    with pytest.raises(GradSiegeError, match=method):
        Bare()(seen, simulate=lambda *given: None)


def test_a_defense_that_defines_no_hook_is_refused() -> None:
    class Misspelt(Defense):
        def transform_updates(self, update: Tensors, client: Client) -> Tensors:
            return {name: 0 * value for name, value in update.items()}

    class Empty(Defense):
        pass

    class Child(gs.defenses.Sign):
        pass

    with pytest.raises(ModelError, match="defends nothing; it has transform_updates"):
        gs.observe(small(), IMAGES, [1], Misspelt())
    with pytest.raises(ModelError, match="Empty defines none of wrap_model, transform_batch"):
        gs.observe(small(), IMAGES, [1], Empty())
    gs.observe(small(), IMAGES, [1], Child())


def test_a_folder_that_cannot_be_made_is_known_before_the_attack() -> None:
    seen = gs.observe(small(), IMAGES, [1])
    with pytest.raises(ArtifactError, match="/proc/none"):
        REAL(seen, resume="/proc/none")
    with pytest.raises(UsageError, match="resume is ''"):
        REAL(seen, resume="")


def test_damaged_progress_is_told(tmp_path: Path) -> None:
    progress = FolderProgress(tmp_path, "me")
    progress.save_progress({"x": torch.ones(2)}, {"iteration": 3})
    assert progress.load_progress() is not None
    whole = progress.path.read_bytes()
    for damaged in (whole[:40], whole[:-1] + b"!"):
        progress.path.write_bytes(damaged)
        with pytest.warns(UserWarning, match="is damaged, so the attack starts from the beginning"):
            assert progress.load_progress() is None


def test_a_table_takes_the_arrays_that_an_observation_takes() -> None:
    flipped = IMAGES.numpy()[:, :, ::-1]
    gs.observe(small(), flipped, [1])
    assert gs.metrics.table(flipped, flipped)["mse"].tolist() == [0.0]
    with pytest.raises(ModelError, match="divide bytes by 255"):
        gs.metrics.table((255 * IMAGES).byte(), IMAGES)
