"""What an attack hands over: each stage's finds, and the choice among stages and restarts, by matching loss alone."""

from __future__ import annotations

import torch
from torch import Tensor

from gradsiege.attacks.engine.loop import State
from gradsiege.attacks.engine.recipe import Recipe, Stage
from gradsiege.attacks.engine.variables import Variables, where
from gradsiege.protocol.reconstruction import Reconstruction


def end_at_last_iterate(state: State) -> None:
    """Take the last iterate for the stage's result, in the place of the least; a last one that broke is passed over."""
    last = state.trace[-1][1]
    finite = torch.isfinite(last)
    state.best = where(finite, state.x, state.best)
    state.best_loss = torch.where(finite, last, state.best_loss)
    state.best_iteration = torch.where(finite, state.iteration, state.best_iteration)


def record(state: State, stage: Stage, labels: Tensor) -> Variables:
    """Return what all stages so far have found, this one's result added: ``[n, stages, ...]`` each."""
    _, images = torch.vmap(stage.space.decode)(state.best, labels)
    matched = torch.vmap(stage.space.labels)(state.best, labels)
    found = {
        "images": images.clamp(0, 1),
        "labels": matched.argmax(-1) if matched.is_floating_point() else matched,
        "loss": state.best_loss,
        "iteration": state.best_iteration,
    }
    if not state.kept:
        return {name: value[:, None] for name, value in found.items()}
    return {name: torch.cat([state.kept[name], value[:, None]], 1) for name, value in found.items()}


def least_matching(kept: Variables) -> Tensor:
    """Return each element's images of least matching loss over the stages, ``[n, images, c, h, w]``."""
    best = kept["loss"].argmin(1)
    return kept["images"][torch.arange(len(best), device=best.device), best]


def select(kept: Variables, recipe: Recipe, victims: int, restarts: int) -> Reconstruction:
    """Return each victim's images by the recipe's rules, and the images that every stage would have returned."""
    kept = {name: value.view(victims, restarts, *value.shape[1:]) for name, value in kept.items()}
    loss = kept["loss"]
    stages = loss.shape[2]
    rows, steps = (torch.arange(size, device=loss.device) for size in (victims, stages))
    # Of each stage: the restart with the least loss, and the one whose images are shown.
    best = loss.argmin(1)
    shown = best if recipe.restart == "least" else torch.full_like(best, restarts - 1)
    stage_loss = loss[rows[:, None], best, steps]
    stage_images = kept["images"][rows[:, None], shown, steps]
    stage = stage_loss.argmin(1) if recipe.keep == "least" else torch.full_like(rows, stages - 1)
    restart = shown[rows, stage]
    return Reconstruction(
        images=stage_images[rows, stage],
        labels=kept["labels"][rows, restart, stage],
        matching_loss=stage_loss[rows, stage],
        restart=restart,
        iteration=kept["iteration"][rows, restart, stage],
        stages=stage_images if stages > 1 else None,
        stage_losses=stage_loss if stages > 1 else None,
    )
