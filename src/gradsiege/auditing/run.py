"""Running the parts of a plan: every attack sees an observation alone, and a finished one is not computed twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from gradsiege import catalogue
from gradsiege.auditing.auxiliary import Auxiliary, priors_of
from gradsiege.auditing.parts import Outcome, Parts, failed
from gradsiege.auditing.plan import Part, Plan, slowness_of, within
from gradsiege.auditing.portfolio import Attacker
from gradsiege.auditing.settings import Chooser
from gradsiege.auditing.situations import Situation
from gradsiege.auditing.source import Source
from gradsiege.defenses.base import Defense
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
from gradsiege.protocol.threat_model import ThreatModel, strip


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

        Args:
            plan: as it was laid out. Every part is cut down from that, so that a pace that improves restores later parts.
        """
        done: list[Part] = []
        outcomes: dict[str, Outcome] = {}
        spent = paced = expected = 0.0
        for place in track(range(len(plan.parts)), len(plan.parts), "audit"):
            laid = plan.parts[place]
            outcome = self.parts.load(laid.key)
            if outcome is None:
                slowness = slowness_of(paced, expected, plan.budget.seconds)
                part = _fitted(plan, place, spent, slowness)
                if part.reason:
                    done.append(part)
                    continue
                outcome = self._attacked(part, plan.size.pictures)
                self.parts.keep(part.key, outcome)
            part = outcome.ran(laid)
            done.append(part)
            outcomes[part.key] = outcome
            spent += outcome.seconds + outcome.simulated
            if outcome.whole:
                paced, expected = paced + outcome.seconds, expected + part.seconds
        return replace(plan, parts=tuple(done)), outcomes

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
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            return ended(failed(clients, shape, reason))
        return ended(found, settings=record)

    def _called(
        self, part: Part, seen: Observation, clients: int
    ) -> tuple[Reconstruction, dict[str, Any]]:
        """Return what an attack made of the observation, and how its settings were chosen."""
        situation, attacker = part.situation, part.attacker
        attack, owned = attacker.attack, self.auxiliary[situation.stage]
        priors = self._trained(situation.stage, (*attack.prior_kinds, *attack.further_kinds))
        strange = _strange(situation.defense)
        record: dict[str, Any] = {}
        if part.chosen and not attacker.seeks:
            defense = strange if attacker.threat.disclosure else None
            attack, record = self.chooser.chosen(
                attack, seen, attacker.threat, owned, priors, defense
            )
        simulate = None
        if attack.simulates:
            simulate = simulator(strip(seen, _plain(attacker)), 0, 1, None, strange)
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
            self._seen = {situation.key: self.source.observed(situation, clients)}
        return self._seen[situation.key]

    def _trained(self, stage: str, kinds: tuple[str, ...]) -> list[TrainedPrior]:
        if (stage, kinds) not in self._priors:
            owned = self.auxiliary[stage]
            self._priors[stage, kinds] = priors_of(kinds, owned, self.source.classes)
        return self._priors[stage, kinds]


def _fitted(plan: Plan, place: int, spent: float, slowness: float) -> Part:
    """Return the part at a place as it fits into the time of the budget, if all later ones are to fit, too."""
    return within(replace(plan, parts=plan.parts[place:]), spent, slowness).parts[0]


def _strange(defense: Defense | None) -> Defense | None:
    """Return a defense that no catalogue knows, which its clients can be simulated with only as the object that it is."""
    known = defense is None or defense.name in catalogue.entries("defenses")
    return None if known else defense


def _plain(attacker: Attacker) -> ThreatModel:
    """Return the threat model without the gallery, which no simulation needs."""
    return replace(attacker.threat, candidates=False)
