"""Running an attack that matches updates: its plan, the rounds that it matches, and the optimisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch

from gradsiege.attacks import counters, several_rounds
from gradsiege.attacks.counters.plan import AttackPlan, kept_channels
from gradsiege.attacks.engine.autotune import EnginePolicy
from gradsiege.attacks.engine.loop import State
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.optimizers.cmaes import CMAES
from gradsiege.attacks.recipe import Phase, Recipe
from gradsiege.attacks.reconstruct import reconstruct
from gradsiege.errors import ThreatModelError, UsageError
from gradsiege.protocol.observation import Observation
from gradsiege.protocol.reconstruction import Reconstruction
from gradsiege.protocol.simulation import Simulate
from gradsiege.ranges import shown

Seed = tuple[object, ...]


class Matching(Protocol):
    """The fields of an attack that matches updates; see `gradsiege.attacks.base.Attack`."""

    @property
    def restarts(self) -> int:
        """Independent starts per client."""

    @property
    def label_rule(self) -> str:
        """How labels are inferred."""

    @property
    def update_model(self) -> str:
        """How several local steps are modelled."""

    @property
    def evaluated_at(self) -> str:
        """Weights at which the candidate's update is taken."""

    @property
    def patience(self) -> int | None:
        """Iterations without progress after which a client's attack stops."""

    @property
    def rounds(self) -> Literal["first", "joint", "average"]:
        """Which of the granted rounds are matched."""

    @property
    def counter(self) -> str | None:
        """Name of the counter, the change that an informed attacker makes."""

    def recipe(self, knowledge: Knowledge) -> Recipe:
        """Return the optimisation problem."""


@dataclass(frozen=True)
class Matched:
    """The result of matching updates, and its cost.

    Attributes:
        evaluations: number of candidate updates per victim, over restarts and rounds.
        rounds: number of matched rounds.
    """

    reconstruction: Reconstruction
    evaluations: int
    rounds: int


def match(
    attack: Matching,
    knowledge: Knowledge,
    seed: Seed,
    policy: EnginePolicy | None = None,
    resume: Callable[[], State | None] = lambda: None,
    pause: Callable[[State], None] = lambda state: None,
    simulate: Simulate | None = None,
) -> Matched:
    """Run an attack that matches updates, with its counter.

    Args:
        attack: the attack.
        knowledge: all inputs of the attacker.
        seed: names that seed all randomness.
        policy: how the engine is chosen; by measurement if not given.
        resume, pause: as in `reconstruct`.
        simulate: runs a client under the disclosed defense, for a counter that learns from simulated clients.
    """
    seen = knowledge.observation
    rounds = several_rounds.seen_by(seen, attack.rounds)
    if simulate is not None and len(rounds) > 1:
        raise ThreatModelError(
            f"{attack.counter} simulates clients of one model, and rounds: joint matches {len(rounds)}; choose first or average"
        )
    granted = several_rounds.granted(seen, attack.rounds)
    plans = [
        plan_of(attack, replace(knowledge, observation=round_), simulate, seed, granted)
        for round_ in rounds
    ]
    plan, *later = plans
    if later:
        plan = plan.with_labels(several_rounds.agreed_labels(plans))
    reconstruction = reconstruct(
        plan.knowledge,
        plan.recipe,
        attack.restarts,
        seed,
        resume,
        pause,
        policy,
        [(round_.knowledge, round_.recipe) for round_ in later],
    )
    channels = kept_channels(rounds[0].update, plan.update)
    channels = {name: flags.cpu() for name, flags in channels.items()}
    evaluations = sum(phase.evaluations for phase in plan.recipe.phases)
    return Matched(
        replace(reconstruction, images=plan.finish(reconstruction.images), kept_channels=channels),
        evaluations * attack.restarts * len(plans),
        len(plans),
    )


def plan_of(
    attack: Matching,
    knowledge: Knowledge,
    simulate: Simulate | None = None,
    seed: Seed = (),
    granted: tuple[Observation, ...] = (),
) -> AttackPlan:
    """Return the attack's recipe against one update of each victim, changed by its counter, which may read all `granted` rounds."""
    recipe = _whole(attack.recipe(knowledge), type(attack).__name__).with_phases(
        update_model=attack.update_model,
        evaluated_at=attack.evaluated_at,
        patience=attack.patience,
    )
    averaged = knowledge.threat.rounds if attack.rounds == "average" else 1
    plan = AttackPlan(
        knowledge,
        replace(recipe, label_rule=attack.label_rule),
        averaged=averaged,
        simulate=simulate,
        seed=seed,
        granted=granted or (knowledge.observation,),
    )
    return counters.apply(attack.counter, plan) if attack.counter else plan


def _whole(recipe: object, attack: str) -> Recipe:
    """Return what an attack's `recipe` returned; refuse anything but a recipe with phases that can be run."""
    if not isinstance(recipe, Recipe) or not isinstance(recipe.phases, tuple) or not recipe.phases:
        raise UsageError(
            f"{attack}.recipe returns {shown(recipe)}; return gradsiege.attacks.recipe.Recipe((Phase(...),)), with one phase or more"
        )
    for phase in recipe.phases:
        if not isinstance(phase, Phase):
            raise UsageError(
                f"{attack}.recipe has {shown(phase)} among its phases; give a Phase(...)"
            )
        if not hasattr(phase.optimizer, "start") and not isinstance(phase.optimizer, CMAES):
            raise UsageError(
                f"{attack}.recipe has a phase with the optimizer {shown(phase.optimizer)}; give one of gradsiege.attacks.optimizers, such "
                "as Adam(learning_rate=0.1)"
            )
    return recipe


def with_failures(reconstruction: Reconstruction, seen: Observation) -> Reconstruction:
    """Return the reconstruction with the reason for every victim that has no usable result."""
    failures = reconstruction.failures | seen.failures
    for victim in (
        torch.isfinite(reconstruction.matching_loss).logical_not().nonzero().flatten().tolist()
    ):
        failures.setdefault(victim, "the matching loss was never finite")
    # Of an update that tells nothing an attack makes its start, which must not be taken for a result.
    images = reconstruction.images.clone()
    images[list(seen.failures)] = torch.nan
    return replace(reconstruction, images=images, failures=failures)
