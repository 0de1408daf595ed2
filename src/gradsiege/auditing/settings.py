"""The settings of attacks, chosen on simulated clients of the attacker's own pictures: every attack gets as many trials."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradsiege.attacks.base import Attack
from gradsiege.auditing.auxiliary import Auxiliary
from gradsiege.auditing.budget import Budget
from gradsiege.auditing.plan import Plan
from gradsiege.auditing.times import tunes
from gradsiege.auditing.words import attacker_in_words
from gradsiege.defenses.base import Defense
from gradsiege.priors.base import TrainedPrior
from gradsiege.protocol.observation import Observation
from gradsiege.protocol.threat_model import ThreatModel
from gradsiege.tuning.settings import choose_settings
from gradsiege.tuning.trials import tuned_fields

PUBLISHED = "published settings"


@dataclass(frozen=True, eq=False)
class Chooser:
    """Chooses the settings of the attacks of one audit.

    Attributes:
        budget: whose `trials` and `tuning_clients` are the effort; one trial chooses nothing.
        seed, device: of the attacks.
        folder: where finished trials are kept, so that no choice is made twice; None keeps nothing.
    """

    budget: Budget
    seed: int
    device: str
    folder: Path | None = None

    def chosen(
        self,
        attack: Attack,
        seen: Observation,
        threat: ThreatModel,
        owned: Auxiliary,
        priors: list[TrainedPrior],
        defense: Defense | None,
    ) -> tuple[Attack, dict[str, Any]]:
        """Return the attack with the settings that it runs with, and a record of the trials; the private pictures play no part.

        Args:
            attack: with its budget.
            seen: the observation, of which only the network and the clients' training are looked at.
            threat: what the attacker knows; one who does not know the defense simulates clients without it.
            owned: the attacker's own pictures; where the spare ones do not fill a client, the published settings stand.
            priors: that the attack uses; they have not learned from the pictures of the trials.
            defense: the disclosed defense as an object, where no catalogue knows it.
        """
        clients = self.budget.clients_to_choose_on(len(owned.spare), seen.images_per_client)
        if not clients or not tuned_fields(attack):
            return attack, {}
        choice = choose_settings(
            attack,
            seen,
            owned.spare,
            owned.spare_labels,
            threat,
            priors,
            trials=self.budget.trials,
            clients=clients,
            defense=defense,
            seed=self.seed,
            device=self.device,
            resume=self.folder,
        )
        return choice.attack, choice.record()


def note(plan: Plan) -> str:
    """Return what the page says of the settings of attacks, by the plan as it was carried out."""
    budget = plan.budget
    tunable = [part for part in plan.running if tunes(part.attacker) or not part.chosen]
    longer = (
        " A search for the mode takes longer steps where it has few iterations."
        if not all(part.chosen for part in tunable)
        else ""
    )
    if not any(part.tuning for part in tunable):
        return (
            "The attacks ran with their published settings. They were not tuned to this network: an attacker who tunes step sizes and "
            f"weights on pictures of its own may do better.{longer}"
        )
    published = dict.fromkeys(
        attacker_in_words(part.attacker.id) for part in tunable if not part.tuning
    )
    exceptions = (
        f"{'; '.join(published)} ran without a choice of settings in at least one situation, for want of time or of such pictures. "
        if published
        else ""
    )
    return (
        f"Step sizes and weights of attacks that have them were chosen among {budget.trials} settings on up to {budget.tuning_clients} "
        "simulated clients of the attacker's own pictures, never on the private ones. "
        f"{exceptions}More trials may find better ones.{longer}"
    )
