"""`reconstruct`: the optimisation of every attack that matches updates, from knowledge and a recipe to images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from gradsiege.attacks import labels as label_rules
from gradsiege.attacks.engine import stuck
from gradsiege.attacks.engine.autotune import EngineChoice, EnginePolicy, choose
from gradsiege.attacks.engine.chunks import Chunked
from gradsiege.attacks.engine.engines import engine, loop
from gradsiege.attacks.engine.evolution import evolve, population_evaluator
from gradsiege.attacks.engine.loop import State, begin, optimise
from gradsiege.attacks.engine.objective import (
    Evaluation,
    Problem,
    Target,
    element_cost,
    with_surrogate,
)
from gradsiege.attacks.engine.selection import end_at_last_iterate, least_matching, record, select
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.optimizers.cmaes import CMAES
from gradsiege.attacks.optimizers.gradient import Optimizer
from gradsiege.attacks.optimizers.langevin import Langevin
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.attacks.variables import Variables
from gradsiege.errors import ThreatModelError
from gradsiege.protocol.observation import stacked
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
    policy: EnginePolicy | None = None,
    later: Sequence[tuple[Knowledge, Recipe]] = (),
) -> Reconstruction:
    """Run a recipe against every victim of an observation at once.

    Args:
        knowledge: the stripped observation, threat model and prior.
        recipe: what to optimise.
        restarts: independent starts per victim; the one with the least matching loss is returned.
        seed: names that seed all randomness.
        resume: returns a saved state, or None to start afresh.
        pause: called between iterations; may save and leave.
        policy: how the engine is chosen; by measurement if not given.
        later: the knowledge of further rounds of the same images, and a recipe for each, whose phases are those of
            `recipe` but for distance and space. The attack minimises the mean over all rounds; labels are the first's.
    """
    observation = knowledge.observation
    if observation.training is None:
        raise ThreatModelError("matching the update needs the local protocol, which is not granted")
    labels = _labels(knowledge, recipe)
    target = _target(knowledge, labels, restarts)
    some = next(iter(observation.parameters.values()))
    model = observation.model.build().to(some.device, some.dtype)
    first = recipe.phases[0]
    targets = [_target(other, labels, restarts) for other, _ in later]

    def starts() -> Variables:
        drawn = starting_points(first, observation.victims, restarts, seed)
        return {name: value.to(knowledge.device) for name, value in drawn.items()}

    state = (resume() or begin(starts(), first.optimizer)).to(knowledge.device)
    choices = []
    for number in range(state.phase, len(recipe.phases)):
        phase = recipe.phases[number]
        if number > state.phase:
            state = _next_phase(state, phase, starts)
        problem = Problem(model, observation, observation.training, phase)
        again = [
            (replace(problem, observation=other.observation, phase=others.phases[number]), seen)
            for (other, others), seen in zip(later, targets, strict=True)
        ]
        run = Run(
            problem, target, restarts, (*seed, state.phase), pause, policy or EnginePolicy(), again
        )
        state = run.go(state)
        choices += run.choices
        unmoved = run.stuck(state)
        if phase.iterate == "last":
            end_at_last_iterate(state)
        elif problem.ranks_by_objective:
            run.measure_matching(state)
        stuck.without_result(state, unmoved)
        state.phase_results = record(state, phase, target.labels)
    phase_results = {name: value.cpu() for name, value in state.phase_results.items()}
    selected = select(phase_results, recipe, observation.victims, restarts)
    return replace(
        selected,
        failures=stuck.reasons(selected),
        trace=[(i, loss.cpu().view(observation.victims, restarts)) for i, loss in state.trace],
        engines=[asdict(choice) for choice in choices],
    )


def mean_of(rounds: Sequence[Evaluation]) -> Evaluation:
    """Return the mean of several rounds' gradients and matching losses; a single round's are left as they are.

    >>> first, second = ({"x": torch.tensor([1.0])}, torch.tensor([2.0])), ({"x": torch.tensor([3.0])}, torch.tensor([0.0]))
    >>> mean_of([first, second])
    ({'x': tensor([2.])}, tensor([1.]))
    """
    if len(rounds) == 1:
        return rounds[0]
    gradients = {
        name: torch.stack([round_gradients[name] for round_gradients, _ in rounds]).mean(0)
        for name in rounds[0][0]
    }
    return gradients, torch.stack([matching for _, matching in rounds]).mean(0)


def starting_points(phase: Phase, victims: int, restarts: int, seed: Seed) -> Variables:
    """Draw ``[victims * restarts, ...]`` starts; each depends on its own victim and restart alone."""
    drawn = [
        phase.space.start(torch_generator(*seed, "start", victim, restart))
        for victim in range(victims)
        for restart in range(restarts)
    ]
    return with_surrogate(phase, stacked(drawn))


def _target(knowledge: Knowledge, labels: Tensor, restarts: int) -> Target:
    """Repeat every victim's update and labels once per restart."""
    observation = knowledge.observation
    observed = {
        name: value.repeat_interleave(restarts, 0) for name, value in observation.update.items()
    }
    statistics = {
        name: value.repeat_interleave(restarts, 0) for name, value in observation.statistics.items()
    }
    shape = (len(labels) * restarts, observation.images_per_client, *observation.image_shape)
    consensus = next(iter(observed.values())).new_zeros(shape)
    return Target(labels.repeat_interleave(restarts, 0), observed, consensus, statistics)


def _labels(knowledge: Knowledge, recipe: Recipe) -> Tensor:
    """Return the granted labels, or inferred ones, ``[victims, images]``."""
    seen = knowledge.observation
    if seen.labels is not None and not recipe.ordered_labels:
        return seen.labels
    inferred = label_rules.inferred(seen, recipe.label_rule)
    return inferred if seen.labels is None else label_rules.ordered(inferred, seen.labels)


def _next_phase(state: State, phase: Phase, starts: Callable[[], Variables]) -> State:
    """Continue from the best variables so far; an element without any keeps its NaN and stays failed."""
    if phase.again is None:
        x, phase_results = phase.space.follow(state.best), state.phase_results
    else:
        x, phase_results = phase.again(starts(), least_matching(state.phase_results)), {}
    after = begin(with_surrogate(phase, x), phase.optimizer)
    after.phase, after.phase_results, after.trace = state.phase + 1, phase_results, state.trace
    return after


@dataclass
class Run:
    """One phase at work."""

    problem: Problem
    target: Target
    restarts: int
    seed: Seed
    pause: Callable[[State], None]
    policy: EnginePolicy
    later: Sequence[tuple[Problem, Target]] = ()
    choices: list[EngineChoice] = field(default_factory=list)

    def go(self, state: State) -> State:
        """Minimise from `state` on."""
        phase = self.problem.phase
        if isinstance(phase.optimizer, CMAES):
            return self._evolve(state, phase.optimizer)
        evaluate = self._evaluation(state)

        def at(x: Variables, iteration: int) -> Evaluation:
            if phase.group is not None:
                consensus = self._consensus(x, iteration, state)
                for target in (self.target, *(target for _, target in self.later)):
                    target.consensus = consensus
            gradients, loss = evaluate(x)
            return self._noisy(gradients, iteration) if phase.noise else gradients, loss

        def settle(x: Variables, iteration: int) -> Variables:
            return phase.space.project(x)

        return optimise(
            at, settle, self._optimizer(), phase.iterations, state, self.pause, phase.patience
        )

    def measure_matching(self, state: State) -> None:
        """Give every element the matching loss of its best iterate, where iterates were compared by the whole objective."""
        matching = self._measured(state.best, "least")
        # An element whose objective was never finite has no iterate to measure.
        state.best_loss = torch.where(state.best_iteration < 0, torch.inf, matching)

    def stuck(self, state: State) -> Tensor:
        """Return which elements a gradient that is not finite left at their start, bool ``[n]``; an evolution has no gradient."""
        if isinstance(self.problem.phase.optimizer, CMAES):
            return torch.zeros_like(state.best_iteration, dtype=torch.bool)
        return stuck.stuck(state, lambda x: self._measured(x, "least_objective"))

    def _measured(self, x: Variables, iterate: Literal["least", "least_objective"]) -> Tensor:
        """Return the number by which iterates are compared, matching loss or objective, at `x` over all rounds, ``[n]``."""
        rounds = [
            loop(replace(problem, phase=replace(problem.phase, iterate=iterate)))(x, target)
            for problem, target in ((self.problem, self.target), *self.later)
        ]
        return mean_of(rounds)[1]

    def _optimizer(self) -> Optimizer:
        """Return the phase's optimizer; one that samples is told its seed and the unit of the objective."""
        optimizer = self.problem.phase.optimizer
        if not isinstance(optimizer, Langevin):
            return optimizer
        targets = (self.target, *(target for _, target in self.later))
        matched = [value[0].numel() for target in targets for value in target.observed.values()]
        return replace(optimizer, coordinates=sum(matched), seed=(*self.seed, "langevin"))

    def _evaluation(self, state: State) -> Callable[[Variables], Evaluation]:
        """Return the evaluation of all rounds by the chosen engine; a state that has one keeps it."""
        choice = EngineChoice(state.engine, state.chunk)
        if not state.engine:
            choice = choose(self.policy, self.problem, state.x, self.target)
            state.engine, state.chunk = choice.engine, choice.chunk
        self.choices.append(choice)
        rounds = [
            (Chunked(engine(choice.engine, problem, self.policy.programs), choice.chunk), target)
            for problem, target in ((self.problem, self.target), *self.later)
        ]
        return lambda x: mean_of([evaluate(x, target) for evaluate, target in rounds])

    def _evolve(self, state: State, optimizer: CMAES) -> State:
        rounds = [
            (population_evaluator(element_cost(problem), optimizer.population), target)
            for problem, target in ((self.problem, self.target), *self.later)
        ]

        def fitness(candidates: Variables) -> tuple[Tensor, Tensor]:
            losses = [evaluate(candidates, target) for evaluate, target in rounds]
            totals, matching = zip(*losses, strict=True)
            return torch.stack(totals).mean(0), torch.stack(matching).mean(0)

        return evolve(
            fitness,
            optimizer,
            self.problem.phase.iterations,
            state,
            (*self.seed, "evolution"),
            self.pause,
        )

    def _noisy(self, gradients: Variables, iteration: int) -> Variables:
        """Add Langevin noise to the gradients of an iteration, before the optimizer sees them."""
        phase = self.problem.phase
        scale = phase.noise * phase.optimizer.rate(iteration, phase.iterations)
        generator = torch_generator(*self.seed, "langevin", iteration)
        return {
            name: value + scale * torch.randn(value.shape, generator=generator).to(value)
            for name, value in gradients.items()
        }

    def _consensus(self, x: Variables, iteration: int, state: State) -> Tensor:
        """Return the mean over a victim's restarts, refreshed now and then; before, the element itself."""
        phase = self.problem.phase
        group = phase.group
        assert group is not None
        images, _ = torch.vmap(phase.space.decode)(x, self.target.labels)
        if iteration < group.first:
            return images
        if (iteration - group.first) % group.every == 0:
            shaped = images.view(-1, self.restarts, *images.shape[1:])
            mean = shaped.mean(1, keepdim=True).expand_as(shaped)
            state.extra["consensus"] = mean.reshape(images.shape)
        return state.extra["consensus"]
