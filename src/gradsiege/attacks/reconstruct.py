"""`reconstruct`: the one verb of every attack, from knowledge and a recipe to images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gradsiege.attacks import labels as label_rules
from gradsiege.attacks.engine.loop import State, begin, optimise
from gradsiege.attacks.engine.objective import element_cost, evaluator
from gradsiege.attacks.engine.recipe import Knowledge, Recipe
from gradsiege.errors import ThreatModelError
from gradsiege.models import build
from gradsiege.protocol.local_update import Tensors
from gradsiege.protocol.reconstruction import Reconstruction
from gradsiege.seeds import torch_generator


def starting_points(
    recipe: Recipe, victims: int, restarts: int, seed: tuple[object, ...]
) -> Tensor:
    """Draw ``[victims * restarts, ...]`` starts; each depends on its own victim and restart alone."""
    space = recipe.stages[0].space
    drawn = [
        space.start(torch_generator(*seed, "start", victim, restart))
        for victim in range(victims)
        for restart in range(restarts)
    ]
    return torch.stack(drawn)


def reconstruct(
    knowledge: Knowledge,
    recipe: Recipe,
    restarts: int,
    seed: tuple[object, ...],
    resume: Callable[[State], State] = lambda state: state,
    pause: Callable[[State], None] = lambda state: None,
) -> Reconstruction:
    """Run a recipe against every victim of an observation at once.

    Args:
        knowledge: the stripped observation, threat model and prior.
        recipe: what to optimise.
        restarts: independent starts per victim; the one with the least matching loss is returned.
        seed: names that the starts are drawn from.
        resume: exchanges the fresh state for a saved one.
        pause: called between iterations; may save and leave.
    """
    observation = knowledge.observation
    if observation.training is None:
        raise ThreatModelError("matching the update needs the local protocol, which is not granted")
    victims = observation.victims
    labels = observation.labels
    if labels is None:
        labels = label_rules.infer(observation.update, observation.images)
    model = build(observation.model)
    (stage,) = recipe.stages
    repeated: Tensors = {
        name: value.repeat_interleave(restarts, 0) for name, value in observation.update.items()
    }
    wide_labels = labels.repeat_interleave(restarts, 0)
    evaluate = evaluator(element_cost(model, observation, observation.training, stage))
    state = resume(begin(starting_points(recipe, victims, restarts, seed), stage.optimizer))
    state = optimise(
        lambda x: evaluate(x, wide_labels, repeated),
        stage.space.project,
        stage.optimizer,
        stage.iterations,
        state,
        pause,
    )
    return _select(state, stage.space.images(state.best).clamp(0, 1), labels, victims, restarts)


def _select(
    state: State, images: Tensor, labels: Tensor, victims: int, restarts: int
) -> Reconstruction:
    """Return each victim's best restart by matching loss."""
    losses = state.best_loss.view(victims, restarts)
    best = losses.argmin(1)
    rows = torch.arange(victims)
    shaped = images.view(victims, restarts, *images.shape[1:])
    return Reconstruction(
        images=shaped[rows, best],
        labels=labels,
        matching_loss=losses[rows, best],
        restart=best,
        iteration=state.best_iteration.view(victims, restarts)[rows, best],
        trace=[(iteration, loss.view(victims, restarts)) for iteration, loss in state.trace],
    )
