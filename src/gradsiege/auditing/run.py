"""Running the parts of a plan: every attack sees an observation alone, and a finished one is not computed twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import Tensor

from gradsiege.auditing.auxiliary import Auxiliary, priors_of
from gradsiege.auditing.parts import Outcome, Parts, failed
from gradsiege.auditing.plan import NO_TIME, Part, Plan, slowness_of, within
from gradsiege.auditing.portfolio import Attacker
from gradsiege.auditing.settings import Chooser
from gradsiege.auditing.situations import Situation
from gradsiege.auditing.source import Source
from gradsiege.auditing.words import attacker_in_words
from gradsiege.defenses import is_user_defined
from gradsiege.defenses.base import Defense
from gradsiege.errors import (
    ArtifactError,
    MissingError,
    StoppedEarlyError,
    StudyError,
    ThreatModelError,
    in_a_line,
)
from gradsiege.federated.simulation import simulator
from gradsiege.priors.base import TrainedPrior
from gradsiege.progress import track
from gradsiege.protocol.observation import Observation
from gradsiege.protocol.reconstruction import Reconstruction
from gradsiege.protocol.threat_model import ThreatModel, strip


@dataclass
class _Clock:
    """What finished parts took, and what those that tell the machine's pace were expected to take [seconds]."""

    budget: float
    spent: float = 0.0
    paced: float = 0.0
    expected: float = 0.0

    @property
    def slowness(self) -> float:
        return slowness_of(self.paced, self.expected, self.budget)

    def add(self, outcome: Outcome, expected: float) -> None:
        self.spent += outcome.seconds + outcome.simulated
        if outcome.whole:
            self.paced += outcome.seconds
            self.expected += expected


@dataclass(eq=False)
class Runner:
    """Runs the parts of an audit.

    Attributes:
        source: of the updates; auxiliary: the attacker's own pictures, by stage, since the network may label them.
        gallery: of a number of private pictures.
        parts: finished ones.
        chooser: of the attacks' settings; it names their device.
    """

    source: Source
    auxiliary: Mapping[str, Auxiliary]
    gallery: Callable[[int], Tensor]
    parts: Parts
    chooser: Chooser
    _seen: dict[str, Observation] = field(default_factory=dict)
    _priors: dict[tuple[str, tuple[str, ...]], list[TrainedPrior]] = field(default_factory=dict)

    def run(self, plan: Plan) -> tuple[Plan, dict[str, Outcome]]:
        """Return the plan as it was carried out, and an outcome by key of a part.

        Parts that the time did not hold in their turn are tried once more at the end, since a machine's pace may improve.

        Args:
            plan: as it was laid out. Every part is cut down from that, so that a pace that improves restores later parts.
        """
        done = list(plan.parts)
        outcomes: dict[str, Outcome] = {}
        clock = _Clock(plan.budget.seconds)
        reached: dict[str, Part] = {}
        waiting: Sequence[int] = [place for place, part in enumerate(done) if not part.reason]
        for label in ("attacks", "attacks that were passed over"):
            named = partial(_named, plan)
            for turn, place in enumerate(track(waiting, len(waiting), label, named=named)):
                laid = plan.parts[place]
                rest = replace(plan, parts=tuple(plan.parts[later] for later in waiting[turn:]))
                part = within(rest, clock.spent, clock.slowness, reached).parts[0]
                outcome = self._outcome(laid, part, plan.size.pictures)
                if outcome is None:
                    done[place] = part
                    continue
                done[place] = outcome.ran(laid)
                outcomes[laid.key] = outcome
                clock.add(outcome, done[place].seconds)
                if done[place].attacker.decides:
                    reached.setdefault(done[place].attacker.attack.name, done[place])
            waiting = [place for place in waiting if done[place].reason == NO_TIME]
        return replace(plan, parts=tuple(done)), outcomes

    def _outcome(self, laid: Part, part: Part, pictures: int) -> Outcome | None:
        """Return the outcome of a part: a finished one as it is kept, another one by running the part as it fits; None if it does not."""
        kept = self.parts.load(laid.key)
        if kept is not None or part.reason:
            return kept
        outcome = self._attacked(part, pictures)
        self.parts.keep(part.key, outcome)
        return outcome

    def _attacked(self, part: Part, pictures: int) -> Outcome:
        """Run one attack; an error of the attack or of a defense's own code is an outcome of its clients, with its sentence."""
        situation, began = part.situation, time.monotonic()
        clients = self.source.clients(situation, pictures)
        shape = (situation.training.images, *self.source.image_shape)
        started = began

        def ended(found: Reconstruction | None, reason: str = "", **more: Any) -> Outcome:
            effort = (part.attacker.attack.iterations, part.chosen)
            lasted = time.monotonic() - started
            return Outcome(found, lasted, reason, effort=effort, simulated=started - began, **more)

        try:
            seen = self._observed(situation, clients)
            # No part expects the time that clients take: it says nothing of the attack's pace.
            started = time.monotonic()
            found, record = self._called(part, seen, clients)
        except (StoppedEarlyError, ArtifactError, OSError):
            # A stop, or a disk that is full, says nothing about the attack.
            raise
        except (ThreatModelError, StudyError, MissingError) as error:
            return ended(None, str(error))
        except (Exception, SystemExit) as error:
            return ended(failed(clients, shape, in_a_line(error)))
        return ended(found, settings=record)

    def _called(
        self, part: Part, seen: Observation, clients: int
    ) -> tuple[Reconstruction, dict[str, Any]]:
        """Return what an attack made of the observation, and how its settings were chosen."""
        situation, attacker = part.situation, part.attacker
        attack, owned = attacker.attack, self.auxiliary[situation.stage]
        priors = self._trained(situation.stage, (*attack.prior_kinds, *attack.further_kinds))
        own = _user_defined(situation.defense)
        record: dict[str, Any] = {}
        if part.chosen and not attacker.seeks:
            defense = own if attacker.threat.disclosure else None
            attack, record = self.chooser.chosen(
                attack, seen, attacker.threat, owned, priors, defense
            )
        simulate = None
        if attack.simulates:
            simulate = simulator(strip(seen, _plain(attacker)), 0, 1, None, own)
        gallery = self.gallery(clients * situation.training.images) if attacker.seeks else None
        result = attack(
            seen,
            attacker.threat,
            priors,
            seed=self.source.seed,
            device=self.chooser.device,
            resume=self.parts.progress(part.key),
            simulate=simulate,
            candidates=gallery,
        )
        return result.reconstruction, record

    def _observed(self, situation: Situation, clients: int) -> Observation:
        if situation.key not in self._seen:
            # One at a time: the updates of a large network fill the memory.
            self._seen = {situation.key: usable(self.source.observed(situation, clients))}
        return self._seen[situation.key]

    def _trained(self, stage: str, kinds: tuple[str, ...]) -> list[TrainedPrior]:
        if (stage, kinds) not in self._priors:
            owned = self.auxiliary[stage]
            self._priors[stage, kinds] = priors_of(kinds, owned, self.source.classes)
        return self._priors[stage, kinds]


def usable(seen: Observation) -> Observation:
    """Return the observation with zeros for the updates of clients that failed, so that what they sent spoils no computation over all.

    Their failures stand, and no attack is credited with their pictures.
    """
    failed = list(seen.failures)
    if not failed:
        return seen
    update = {name: value.clone() for name, value in seen.update.items()}
    for value in update.values():
        value[failed] = 0
    return replace(seen, update=update)


def _named(plan: Plan, place: int) -> str:
    """Return the part at a place of the plan, as progress names it."""
    part = plan.parts[place]
    return f"{attacker_in_words(part.attacker.id)} ({part.situation.name})"


def _user_defined(defense: Defense | None) -> Defense | None:
    """Return a defense that no catalogue knows, which its clients can be simulated with only as the object that it is."""
    return defense if defense is not None and is_user_defined(defense) else None


def _plain(attacker: Attacker) -> ThreatModel:
    """Return the threat model without the gallery, which no simulation needs."""
    return replace(attacker.threat, candidates=False)
