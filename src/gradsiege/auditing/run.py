"""Running the parts of a plan: every attack sees an observation alone, and a finished one is not computed twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from gradsiege import catalogue
from gradsiege.attacks.device import AUTO
from gradsiege.auditing.auxiliary import Auxiliary, priors_of
from gradsiege.auditing.parts import Outcome, Parts, failed
from gradsiege.auditing.plan import Part, Plan, within
from gradsiege.auditing.portfolio import Attacker
from gradsiege.auditing.settings import chosen
from gradsiege.auditing.situations import Situation
from gradsiege.auditing.source import Source
from gradsiege.errors import (
    ArtifactError,
    MissingError,
    StoppedEarlyError,
    StudyError,
    ThreatModelError,
)
from gradsiege.federated.simulation import simulator
from gradsiege.priors.base import TrainedPrior
from gradsiege.progress import track
from gradsiege.protocol.observation import Observation
from gradsiege.protocol.reconstruction import Reconstruction
from gradsiege.protocol.simulation import Simulate
from gradsiege.protocol.threat_model import ThreatModel, strip


@dataclass(eq=False)
class Runner:
    """Runs the parts of an audit.

    Attributes:
        subject: networks and pictures; auxiliary: the attacker's own pictures, by stage, since the network may label them.
        gallery: of a number of private pictures.
        parts: finished ones.
        device: of the attacks.
    """

    subject: Source
    auxiliary: Mapping[str, Auxiliary | None]
    gallery: Callable[[int], Tensor]
    parts: Parts
    device: str = AUTO
    _seen: dict[str, Observation] = field(default_factory=dict)
    _priors: dict[tuple[str, tuple[str, ...]], list[TrainedPrior]] = field(default_factory=dict)

    def run(self, plan: Plan) -> tuple[Plan, dict[str, Outcome]]:
        """Return the plan as it was carried out, and an outcome by key of a part."""
        outcomes: dict[str, Outcome] = {}
        spent = 0.0
        places = track(range(len(plan.parts)), len(plan.parts), "audit")
        for place in places:
            plan = within(plan, 0.0) if place == 0 else self._left_out(plan, place, spent)
            part = plan.parts[place]
            if part.reason:
                continue
            outcome = self.parts.load(part.key)
            if outcome is None:
                outcome = self._attacked(part, plan.size.pictures)
                self.parts.keep(part.key, outcome)
            outcomes[part.key] = outcome
            spent += outcome.seconds
        return plan, outcomes

    def _left_out(self, plan: Plan, place: int, spent: float) -> Plan:
        """Return the plan without the parts from a place on that no longer fit into the time of the budget."""
        rest = within(Plan(plan.budget, plan.size, plan.parts[place:]), spent)
        return Plan(plan.budget, plan.size, (*plan.parts[:place], *rest.parts))

    def _attacked(self, part: Part, pictures: int) -> Outcome:
        """Run one attack; an error of the attack or of a defense's own code is an outcome of its clients, with its sentence."""
        situation, started = part.situation, time.monotonic()
        clients = self.subject.clients(situation, pictures)
        shape = (situation.training.images, *self.subject.image_shape)
        try:
            found = self._called(part.attacker, situation, clients, part.key)
        except (StoppedEarlyError, ArtifactError, OSError):
            # A stop, or a disk that is full, says nothing about the attack.
            raise
        except (ThreatModelError, StudyError, MissingError) as error:
            return Outcome(None, time.monotonic() - started, str(error))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            return Outcome(failed(clients, shape, reason), time.monotonic() - started)
        return Outcome(found, time.monotonic() - started)

    def _called(
        self, attacker: Attacker, situation: Situation, clients: int, key: str
    ) -> Reconstruction:
        seen = self._observed(situation, clients)
        attack, owned = attacker.attack, self.auxiliary[situation.stage]
        attack = chosen(attack, strip(seen, _plain(attacker)), owned)
        kinds = (*attack.prior_kinds, *attack.further_kinds)
        simulate = self._simulated(seen, attacker, situation) if attack.simulates else None
        gallery = self.gallery(clients * situation.training.images) if attacker.seeks else None
        result = attack(
            seen,
            attacker.threat,
            self._trained(situation.stage, kinds),
            seed=self.subject.seed,
            device=self.device,
            resume=self.parts.progress(key),
            simulate=simulate,
            candidates=gallery,
        )
        return result.reconstruction

    def _observed(self, situation: Situation, clients: int) -> Observation:
        if situation.key not in self._seen:
            # One at a time: the updates of a large network fill the memory.
            self._seen = {situation.key: self.subject.observed(situation, clients)}
        return self._seen[situation.key]

    def _trained(self, stage: str, kinds: tuple[str, ...]) -> list[TrainedPrior]:
        if (stage, kinds) not in self._priors:
            owned = self.auxiliary[stage]
            self._priors[stage, kinds] = priors_of(kinds, owned, self.subject.classes)
        return self._priors[stage, kinds]

    def _simulated(self, seen: Observation, attacker: Attacker, situation: Situation) -> Simulate:
        """Return clients that the attacker simulates; a defense that no catalogue knows is disclosed as an object."""
        defense = situation.defense
        known = defense is None or defense.name in catalogue.entries("defenses")
        threat = _plain(attacker)
        return simulator(strip(seen, threat), 0, 1, None, None if known else defense)


def _plain(attacker: Attacker) -> ThreatModel:
    """Return the threat model without the gallery, which no simulation needs."""
    return replace(attacker.threat, candidates=False)
