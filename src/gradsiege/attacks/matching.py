"""From an attack and what its attacker knows to images: the plan, the rounds that it matches, and the run."""

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
from gradsiege.attacks.recipe import Recipe
from gradsiege.attacks.reconstruct import reconstruct
from gradsiege.protocol.observation import Observation
from gradsiege.protocol.reconstruction import Reconstruction

Seed = tuple[object, ...]


class Matching(Protocol):
    """What is read of an attack that matches updates; see `gradsiege.attacks.base.Attack`."""

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
        """What an informed attacker does about a defense."""

    def recipe(self, knowledge: Knowledge) -> Recipe:
        """Return what is optimised."""


@dataclass(frozen=True)
class Matched:
    """What matching updates gave, and what it cost.

    Attributes:
        evaluations: candidate updates per victim, over restarts and rounds.
        rounds: how many rounds were matched.
    """

    found: Reconstruction
    evaluations: int
    rounds: int


def match(
    attack: Matching,
    knowledge: Knowledge,
    seed: Seed,
    policy: EnginePolicy | None = None,
    resume: Callable[[], State | None] = lambda: None,
    pause: Callable[[State], None] = lambda state: None,
) -> Matched:
    """Run an attack that matches updates, its counter applied.

    Args:
        attack: whose recipe is followed.
        knowledge: all that the attacker is given.
        seed: names that all randomness is drawn from.
        policy: how the engine is chosen; by measurement if not given.
        resume, pause: as in `reconstruct`.
    """
    seen = knowledge.observation
    rounds = several_rounds.seen_by(seen, attack.rounds)
    plans = [plan_of(attack, replace(knowledge, observation=one)) for one in rounds]
    plan, *later = plans
    if later:
        plan = plan.with_labels(several_rounds.agreed_labels(plans))
    found = reconstruct(
        plan.knowledge,
        plan.recipe,
        attack.restarts,
        seed,
        resume,
        pause,
        policy,
        [(one.knowledge, one.recipe) for one in later],
    )
    kept = kept_channels(rounds[0].update, plan.update)
    kept = {name: flags.cpu() for name, flags in kept.items()}
    evaluations = sum(phase.evaluations for phase in plan.recipe.phases)
    return Matched(
        replace(found, images=plan.finish(found.images), kept=kept),
        evaluations * attack.restarts * len(plans),
        len(plans),
    )


def plan_of(attack: Matching, knowledge: Knowledge) -> AttackPlan:
    """Return the attack's recipe against one update of each victim, changed by its counter."""
    recipe = attack.recipe(knowledge).with_phases(
        update_model=attack.update_model,
        evaluated_at=attack.evaluated_at,
        patience=attack.patience,
    )
    averaged = knowledge.threat.rounds if attack.rounds == "average" else 1
    plan = AttackPlan(knowledge, replace(recipe, label_rule=attack.label_rule), averaged=averaged)
    return counters.apply(attack.counter, plan) if attack.counter else plan


def with_failures(found: Reconstruction, seen: Observation) -> Reconstruction:
    """Return the reconstruction with the reason for every victim that has no usable result."""
    failures = dict(seen.failures)
    for victim in torch.isfinite(found.matching_loss).logical_not().nonzero().flatten().tolist():
        failures.setdefault(victim, "the matching loss was never finite")
    return replace(found, failures=failures)
