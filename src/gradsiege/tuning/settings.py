"""`choose_settings`: the choice of an attack's settings on any network, without a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from gradsiege.attacks import given_priors
from gradsiege.attacks.base import Attack
from gradsiege.attacks.device import AUTO, where_to_run
from gradsiege.attacks.engine.autotune import FIXED
from gradsiege.attacks.knowledge import Knowledge
from gradsiege.checkpoints import FolderProgress
from gradsiege.defenses.base import Defense
from gradsiege.errors import UsageError
from gradsiege.federated.simulation import simulator
from gradsiege.priors.base import TrainedPrior
from gradsiege.priors.own_images import accepted
from gradsiege.protocol.arguments import is_whole, refuse_kinds
from gradsiege.protocol.local_update import with_gradients
from gradsiege.protocol.observation import Observation
from gradsiege.protocol.recorded import check_classes
from gradsiege.protocol.threat_model import ThreatModel, require, strip
from gradsiege.ranges import shown
from gradsiege.seeds import torch_generator
from gradsiege.tuning.choice import Budget, Choice, OwnImages, choose
from gradsiege.tuning.clients import as_known
from gradsiege.tuning.trials import MOST, tuned_fields

# Grants without which an attacker cannot simulate clients.
NEEDS = ("protocol", "auxiliary")


@with_gradients()
def choose_settings(
    attack: Attack,
    seen: Observation,
    images: Any,
    labels: Any,
    knows: ThreatModel | None = None,
    priors: TrainedPrior | Sequence[TrainedPrior] = (),
    *,
    fields: Sequence[str] | None = None,
    trials: int = 6,
    clients: int = 4,
    defense: Defense | None = None,
    seed: int = 0,
    device: str | torch.device = AUTO,
    engine: str = FIXED,
    resume: Path | str | None = None,
) -> Choice:
    """Choose the settings of an attack on simulated clients of the attacker's own images, by mean PSNR.

    The clients start from the observed model and train as the observed ones did. Their defense is the disclosed one where
    `knows` grants the disclosure, and none otherwise. Nothing that the real clients sent is looked at. Chosen are fields that
    declare a range (`gradsiege.ranges.Tuned`). The attack as it is is the first trial. The cost is that of attacks on
    `trials * clients` clients.

        choice = gs.choose_settings(gs.attacks.InvertingGradients(iterations=500), seen, images, labels)
        result = choice.attack(seen)

    Args:
        attack: the attack.
        seen: the server's observation.
        images: ``[n, c, h, w]`` in [0, 1], of the attacker's own; as many as `clients` hold are drawn from them. Priors should not
            have learned from the same images: they would seem better than they are.
        labels: ``[n]``, classes from 0.
        knows, priors, seed, device, engine: as for the attack itself.
        fields: names of the fields to choose; by default those with a range that stand at their default.
        trials: choices of settings that are tried. Compare attacks of equally many.
        clients: simulated clients that each trial meets.
        defense: the disclosed defense as an object, where no catalogue knows it by its name.
        resume: folder that keeps finished trials and the progress of the present one; an equal call goes on from there.

    Returns:
        The choice: ``attack`` with the best settings, and all ``trials`` with their mean PSNR in dB.

    Raises:
        ThreatModelError: the threat model does not grant what the attack, or a simulation of clients, needs.
        UsageError: there are too few images or no client, `fields` names something else than a field that declares a range, or an
            argument is of another kind.
        ModelError: images and labels do not fit each other.
    """
    if not isinstance(attack, Attack) or not isinstance(seen, Observation):
        raise UsageError(
            f"choose_settings takes an attack and an observation, not {type(attack).__name__} and {type(seen).__name__}"
        )
    refuse_kinds(knows, resume, seed)
    threat = knows or ThreatModel()
    if not is_whole(clients) or clients < 1:
        raise UsageError(
            f"clients is {shown(clients)}; give the number of simulated clients, at least 1"
        )
    if not is_whole(trials) or not 1 <= trials <= MOST:
        raise UsageError(f"trials is {shown(trials)}; give a whole number from 1 to {MOST}")
    if fields is not None and not isinstance(fields, str) and not fields:
        raise UsageError(
            "fields is empty, so that nothing would be chosen; name fields, or leave it out"
        )
    _refuse_defense(defense, threat)
    tuned_fields(attack, fields)  # refuses unknown names before any client is simulated
    require(threat, tuple(dict.fromkeys((*attack.required, *NEEDS))), attack.name)
    trained = given_priors.trained_ones(priors)
    given_priors.check(trained, attack.name, attack.prior_kinds, attack.further_kinds)
    stripped = strip(seen, threat).to(where_to_run(device, engine), torch.float32)
    knowledge = Knowledge(stripped, threat, trained)
    pictures, classes = accepted("choose_settings", {}, images, labels)
    check_classes(classes, seen.model.classes)
    order = torch.randperm(len(pictures), generator=torch_generator(seed, "own images"))
    folder = None if resume is None else Path(resume)
    shadow = knowledge.trained("shadow_generator")
    known = as_known(stripped)
    simulates = [
        simulator(round_, number, len(known.rounds()), shadow.weights if shadow else None, defense)
        for number, round_ in enumerate(known.rounds())
    ]
    return choose(
        attack,
        knowledge,
        OwnImages(pictures[order], classes[order]),
        simulates,
        Budget(trials, clients),
        (seed, "tuning"),
        among=fields,
        engine=engine,
        folder=folder,
        saving=lambda name: FolderProgress(folder / name, name) if folder else None,
    )


def _refuse_defense(defense: Any, threat: ThreatModel) -> None:
    """Refuse a defense of another kind, and one that the attacker is not told of."""
    if defense is None:
        return
    if not isinstance(defense, Defense):
        raise UsageError(
            f"defense is {shown(defense)}; give a defense, such as `gradsiege.defenses.TopK()`, or None"
        )
    if not threat.disclosure:
        raise UsageError(
            f"defense is {shown(defense)}, and the attacker is not told of it: give knows=gradsiege.ThreatModel(disclosure=True), or "
            "leave defense out"
        )
