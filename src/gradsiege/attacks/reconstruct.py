"""`reconstruct`: the one verb of every attack, from knowledge and a recipe to images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from gradsiege.attacks import labels as label_rules
from gradsiege.attacks.engine.evolution import CMAES, evolve, population_evaluator
from gradsiege.attacks.engine.loop import State, begin, optimise
from gradsiege.attacks.engine.objective import Evaluation, Target, element_cost, evaluator
from gradsiege.attacks.engine.recipe import Knowledge, Recipe, Stage
from gradsiege.attacks.engine.selection import (
    end_at_last_iterate,
    least_matching,
    record,
    select,
)
from gradsiege.attacks.engine.variables import Variables, stack
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
    target = _target(knowledge, _labels(knowledge, recipe), restarts)
    model = build(observation.model).to(next(iter(observation.parameters.values())).dtype)
    first = recipe.stages[0]

    def starts() -> Variables:
        return starting_points(first, observation.victims, restarts, seed)

    state = resume() or begin(starts(), first.optimizer)
    for number in range(state.stage, len(recipe.stages)):
        stage = recipe.stages[number]
        if number > state.stage:
            state = _next_stage(state, stage, starts)
        state = _run_stage(
            model, knowledge, observation.training, stage, state, target, restarts, seed, pause
        )
        if stage.iterate == "last":
            end_at_last_iterate(state, stage)
        state.kept = record(state, stage, target.labels)
    trace = [(place, loss.view(observation.victims, restarts)) for place, loss in state.trace]
    return replace(select(state.kept, recipe, observation.victims, restarts), trace=trace)


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


def _labels(knowledge: Knowledge, recipe: Recipe) -> Tensor:
    """Return the granted labels, or inferred ones, ``[victims, images]``."""
    seen = knowledge.observation
    if seen.labels is not None and not recipe.ordered_labels:
        return seen.labels
    inferred = label_rules.infer(seen.update, seen.images)
    return inferred if seen.labels is None else label_rules.ordered(inferred, seen.labels)


def _next_stage(state: State, stage: Stage, starts: Callable[[], Variables]) -> State:
    """Continue from the best variables so far; an element without any keeps its NaN and stays failed."""
    if stage.again is None:
        x, kept = stage.space.follow(state.best), state.kept
    else:
        x, kept = stage.again(starts(), least_matching(state.kept)), {}
    after = begin(x, stage.optimizer)
    after.stage, after.kept, after.trace = state.stage + 1, kept, state.trace
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
