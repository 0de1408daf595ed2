"""`reconstruct`: the one verb of every attack, from knowledge and a recipe to images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gradsiege.attacks import labels as label_rules
from gradsiege.attacks.engine.evolution import CMAES, evolve, population_evaluator
from gradsiege.attacks.engine.loop import State, begin, optimise
from gradsiege.attacks.engine.objective import Evaluation, Target, element_cost, evaluator
from gradsiege.attacks.engine.recipe import Knowledge, Recipe, Stage
from gradsiege.attacks.engine.variables import Variables, stack, where
from gradsiege.errors import ThreatModelError
from gradsiege.models import build
from gradsiege.protocol.local_update import LocalTraining
from gradsiege.protocol.reconstruction import Reconstruction
from gradsiege.seeds import torch_generator

Seed = tuple[object, ...]


def reconstruct(
    knowledge: Knowledge,
    recipe: Recipe,
    restarts: int,
    seed: Seed,
    resume: Callable[[], State | None] = lambda: None,
    pause: Callable[[State], None] = lambda state: None,
) -> Reconstruction:
    """Run a recipe against every victim of an observation at once.

    Args:
        knowledge: the stripped observation, threat model and prior.
        recipe: what to optimise.
        restarts: independent starts per victim; the one with the least matching loss is returned.
        seed: names that all randomness is drawn from.
        resume: returns a saved state, or None to start afresh.
        pause: called between iterations; may save and leave.
    """
    observation = knowledge.observation
    if observation.training is None:
        raise ThreatModelError("matching the update needs the local protocol, which is not granted")
    labels = observation.labels
    if labels is None:
        labels = label_rules.infer(observation.update, observation.images)
    target = _target(knowledge, labels, restarts)
    model = build(observation.model).to(next(iter(observation.parameters.values())).dtype)
    first = recipe.stages[0]
    state = resume() or begin(
        starting_points(first, observation.victims, restarts, seed), first.optimizer
    )
    for number in range(state.stage, len(recipe.stages)):
        stage = recipe.stages[number]
        if number > state.stage:
            state = _next_stage(state, stage)
        state = _run_stage(
            model, knowledge, observation.training, stage, state, target, restarts, seed, pause
        )
        state.kept = _keep(state, stage, target.labels, recipe.keep)
    return _select(state, observation.victims, restarts)


def starting_points(stage: Stage, victims: int, restarts: int, seed: Seed) -> Variables:
    """Draw ``[victims * restarts, ...]`` starts; each depends on its own victim and restart alone."""
    drawn = [
        stage.space.start(torch_generator(*seed, "start", victim, restart))
        for victim in range(victims)
        for restart in range(restarts)
    ]
    return stack(drawn)


def _target(knowledge: Knowledge, labels: Tensor, restarts: int) -> Target:
    """Repeat every victim's update and labels once per restart."""
    observation = knowledge.observation
    observed = {
        name: value.repeat_interleave(restarts, 0) for name, value in observation.update.items()
    }
    shape = (len(labels) * restarts, observation.images, *observation.image_shape)
    consensus = torch.zeros(shape, dtype=next(iter(observed.values())).dtype)
    return Target(labels.repeat_interleave(restarts, 0), observed, consensus)


def _next_stage(state: State, stage: Stage) -> State:
    """Continue from the best variables so far; an element without any keeps its NaN and stays failed."""
    after = begin(stage.space.follow(state.best), stage.optimizer)
    after.stage, after.kept, after.trace = state.stage + 1, state.kept, state.trace
    return after


def _run_stage(
    model: nn.Module,
    knowledge: Knowledge,
    training: LocalTraining,
    stage: Stage,
    state: State,
    target: Target,
    restarts: int,
    seed: Seed,
    pause: Callable[[State], None],
) -> State:
    cost = element_cost(model, knowledge.observation, training, stage)
    if isinstance(stage.optimizer, CMAES):
        fitness = population_evaluator(cost, stage.optimizer.population)
        return evolve(
            lambda candidates: fitness(candidates, target),
            stage.optimizer,
            stage.iterations,
            state,
            (*seed, "evolution", state.stage),
            pause,
        )
    evaluate = evaluator(cost)

    def at(x: Variables, iteration: int) -> Evaluation:
        if stage.group is not None:
            target.consensus = _consensus(stage, x, target, iteration, state, restarts)
        return evaluate(x, target)

    def settle(x: Variables, iteration: int) -> Variables:
        if stage.noise:
            rate = stage.optimizer.rate(iteration, stage.iterations)
            generator = torch_generator(*seed, "langevin", state.stage, iteration)
            x = {
                name: value + stage.noise * rate * torch.randn(value.shape, generator=generator)
                for name, value in x.items()
            }
        return stage.space.project(x)

    return optimise(at, settle, stage.optimizer, stage.iterations, state, pause)


def _consensus(
    stage: Stage, x: Variables, target: Target, iteration: int, state: State, restarts: int
) -> Tensor:
    """Return the mean over a victim's restarts, refreshed now and then; before, the element itself."""
    group = stage.group
    assert group is not None
    images, _ = torch.vmap(stage.space.decode)(x, target.labels)
    if iteration < group.first:
        return images
    if (iteration - group.first) % group.every == 0:
        shaped = images.view(-1, restarts, *images.shape[1:])
        mean = shaped.mean(1, keepdim=True).expand_as(shaped)
        state.extra["consensus"] = mean.reshape(images.shape)
    return state.extra["consensus"]


def _keep(state: State, stage: Stage, labels: Tensor, keep: str) -> Variables:
    """Decode this stage's best elements, and hold on to an earlier stage's where it matched better."""
    _, images = torch.vmap(stage.space.decode)(state.best, labels)
    found = {
        "images": images.clamp(0, 1),
        "labels": torch.vmap(stage.space.labels)(state.best, labels),
        "loss": state.best_loss,
        "iteration": state.best_iteration,
        "stage": torch.full_like(state.best_iteration, state.stage),
    }
    if found["labels"].is_floating_point():
        found["labels"] = found["labels"].argmax(-1)
    if keep == "last" or not state.kept:
        return found
    better = found["loss"] < state.kept["loss"]
    return where(better, found, state.kept)


def _select(state: State, victims: int, restarts: int) -> Reconstruction:
    """Return each victim's best restart by matching loss."""
    kept = {
        name: value.view(victims, restarts, *value.shape[1:]) for name, value in state.kept.items()
    }
    best = kept["loss"].argmin(1)
    rows = torch.arange(victims)
    return Reconstruction(
        images=kept["images"][rows, best],
        labels=kept["labels"][rows, best],
        matching_loss=kept["loss"][rows, best],
        restart=best,
        iteration=kept["iteration"][rows, best],
        trace=[(iteration, loss.view(victims, restarts)) for iteration, loss in state.trace],
    )
