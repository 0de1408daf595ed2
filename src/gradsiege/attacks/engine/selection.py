"""What an attack hands over: each phase's finds, and the choice among phases and restarts, by matching loss alone."""

from __future__ import annotations

import torch
from torch import Tensor

from gradsiege.attacks.engine.loop import State
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.attacks.variables import Variables, where
from gradsiege.protocol.reconstruction import Reconstruction


def end_at_last_iterate(state: State) -> None:
    """Take the last iterate for the phase's result, instead of the least; a last one that broke is passed over."""
    last = state.trace[-1][1]
    finite = torch.isfinite(last)
    state.best = where(finite, state.x, state.best)
    state.best_loss = torch.where(finite, last, state.best_loss)
    state.best_iteration = torch.where(finite, state.iteration, state.best_iteration)


def record(state: State, phase: Phase, labels: Tensor) -> Variables:
    """Return what all phases so far have found, this one's result added: ``[n, phases, ...]`` each."""
    _, images = torch.vmap(phase.space.decode)(state.best, labels)
    matched = torch.vmap(phase.space.labels)(state.best, labels)
    result = {
        "images": images.clamp(0, 1),
        "labels": matched.argmax(-1) if matched.is_floating_point() else matched,
        "loss": state.best_loss,
        "iteration": state.best_iteration,
    }
    if not state.phase_results:
        return {name: value[:, None] for name, value in result.items()}
    return {
        name: torch.cat([state.phase_results[name], value[:, None]], 1)
        for name, value in result.items()
    }


def least_matching(results: Variables) -> Tensor:
    """Return each element's images of least matching loss over the phases, ``[n, images, c, h, w]``."""
    best = results["loss"].argmin(1)
    return results["images"][torch.arange(len(best), device=best.device), best]


def mean_over_restarts(images: Tensor, usable: Tensor) -> Tensor:
    """Return the mean of images ``[victims, restarts, phases, ...]`` over the usable restarts; NaN where there is none.

    usable: flags ``[victims, restarts, phases]``.

    >>> images = torch.tensor([1.0, torch.nan, 3.0]).view(1, 3, 1, 1)
    >>> mean_over_restarts(images, torch.tensor([True, False, True]).view(1, 3, 1)).flatten()
    tensor([2.])
    """
    flags = usable.reshape(*usable.shape, *[1] * (images.dim() - usable.dim()))
    return torch.where(flags, images, 0).sum(1) / flags.sum(1)


def select(results: Variables, recipe: Recipe, victims: int, restarts: int) -> Reconstruction:
    """Return each victim's images by the recipe's rules, and the images that every phase would have returned."""
    results = {
        name: value.view(victims, restarts, *value.shape[1:]) for name, value in results.items()
    }
    loss = results["loss"]
    phases = loss.shape[2]
    rows, steps = (torch.arange(size, device=loss.device) for size in (victims, phases))
    # Of each phase: the restart with the least loss, and the one whose images are shown.
    best = loss.argmin(1)
    shown = torch.full_like(best, restarts - 1) if recipe.restart == "last" else best
    stage_loss = loss[rows[:, None], best, steps]
    stage_images = results["images"][rows[:, None], shown, steps]
    if recipe.restart == "mean":
        stage_images = mean_over_restarts(results["images"], torch.isfinite(loss))
    phase = stage_loss.argmin(1) if recipe.keep == "least" else torch.full_like(rows, phases - 1)
    restart = shown[rows, phase]
    return Reconstruction(
        images=stage_images[rows, phase],
        labels=results["labels"][rows, restart, phase],
        matching_loss=stage_loss[rows, phase],
        restart=restart,
        iteration=results["iteration"][rows, restart, phase],
        stages=stage_images if phases > 1 else None,
        stage_losses=stage_loss if phases > 1 else None,
    )
