"""`gradsiege.audit`: what an honest but curious server could see of the clients of a federation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gradsiege import __version__
from gradsiege.attacks.device import AUTO, describe, where_to_run
from gradsiege.auditing.audit import Audit
from gradsiege.auditing.auxiliary import Auxiliary
from gradsiege.auditing.budget import Budget, budget_named
from gradsiege.auditing.costs import Cost, cost_of
from gradsiege.auditing.findings import found
from gradsiege.auditing.given import (
    as_names,
    as_trainings,
    fitting,
    identity_of,
    owned_by,
    whole,
)
from gradsiege.auditing.machine import processor_settings_restored
from gradsiege.auditing.parts import Parts
from gradsiege.auditing.plan import Plan
from gradsiege.auditing.private import held
from gradsiege.auditing.resumption import announced
from gradsiege.auditing.run import Runner
from gradsiege.auditing.scores import gallery_of, scored
from gradsiege.auditing.settings import Chooser
from gradsiege.auditing.situations import Situation, situations
from gradsiege.auditing.sizing import planned
from gradsiege.auditing.subject import Normalisation, Subject, checked, refuse_others, with_labels
from gradsiege.auditing.trial import tried
from gradsiege.defenses.base import Defense
from gradsiege.errors import UsageError
from gradsiege.federated.observing import as_images
from gradsiege.metrics.image_table import refuse_unmeasurable
from gradsiege.protocol.arguments import refuse_kinds, sentences
from gradsiege.protocol.local_update import LocalTraining, with_gradients

Tell = Callable[[str], None]


@with_gradients()
@processor_settings_restored()
def audit(
    model: nn.Module | Mapping[str, nn.Module],
    images: Any,
    labels: Any = None,
    training: LocalTraining | Sequence[LocalTraining] | None = None,
    defenses: Sequence[Defense | None] = (None,),
    budget: str | Budget = "quick",
    *,
    aux: Any = None,
    aux_labels: Any = None,
    groups: Any = None,
    names: Sequence[str] = (),
    normalisation: Normalisation | None = None,
    head: str | None = None,
    name: str = "",
    seed: int = 0,
    device: str = AUTO,
    resume: Path | str | None = None,
    tell: Tell = lambda words: None,
    remarks: str | Sequence[str] = (),
) -> Audit:
    """Attack the updates of simulated clients as the server of a federation could, and judge what it would see.

    Args:
        model: the global network, or several by stage of training (``{"early": ..., "late": ...}``). It is copied, never changed.
        images: private pictures ``[n, c, h, w]`` in [0, 1]; the first ones are attacked, others serve as the gallery.
        labels: ``[n]``, classes from 0; without them the network's predictions are the clients' labels.
        training: what a client does locally, or several; by default a single gradient of one picture.
        defenses: those to compare; no defense is always among them.
        budget: ``quick``, ``standard``, ``thorough`` or a `Budget`.
        aux, aux_labels: public pictures of the attacker and their labels; by default photographs that ship with a package.
        groups: ``[n]``, what a picture shows (a patient, a scene): pictures of one group are not independent.
        names: of the pictures, by which the page and the tables tell them; by default they are numbered.
        normalisation: mean and standard deviation per channel, if `model` expects normalised pictures.
        head: name of the last linear layer, where the logits are not its outputs as they are.
        name: of the network, for the page; by default that of its class.
        seed: of all randomness.
        device: of the attacks, as for `Attack.__call__`.
        resume: folder of finished parts; the same call then goes on from there.
        tell: is handed the plan before anything runs.
        remarks: sentences about the pictures, for the page.

    Returns:
        The result, whose `save` writes page, tables and JSON.

    Raises:
        ModelError: pictures, labels and network do not fit each other.
        UsageError: an argument names nothing that is there.
        ArtifactError: the folder holds another audit.
    """
    refuse_kinds(resume=resume, seed=seed, tell=tell)
    where = where_to_run(device)
    chosen, refused = budget_named(budget), refuse_others(defenses)
    networks = dict(model) if isinstance(model, Mapping) else {"given": model}
    subject, predicted = _subject(networks, images, labels, groups, normalisation, head, seed)
    known = as_names(names, subject.count)
    listed = fitting(situations(list(networks), as_trainings(training), refused), subject)
    about_network = tried(subject, listed)
    owned = {stage: owned_by(subject, stage, aux, aux_labels) for stage in networks}
    identity = identity_of(subject, listed, chosen, owned)
    parts = Parts(None if resume is None else Path(resume), identity)
    with held(parts.folder):
        spare = min(len(one.spare) for one in owned.values())
        plan = planned(subject, listed, chosen, parts, device, spare)
        tell("\n".join([announced(plan, parts), *(f"  {words}" for words in about_network)]))
        galleries = _galleries(subject, owned, plan, listed)
        chooser = Chooser(plan.budget, seed, device, parts.settings)
        plan, outcomes = Runner(subject, owned, galleries.__getitem__, parts, chooser).run(plan)
        scores = scored(subject, plan, outcomes, galleries, owned)
    findings, summary = found(scores.table, listed, seed)
    about = _about(subject, name) | {
        "auxiliary": owned[listed[0].stage].source,
        "gallery": max(len(gallery) for gallery in galleries.values()),
        "device": describe(where),
        "seed": seed,
        "remarks": [*sentences(remarks), *about_network, *_about_labels(subject, predicted)],
    }
    return Audit(
        plan,
        findings,
        summary,
        scores,
        _costs(subject, plan, listed),
        _truths(subject, plan, listed),
        about,
        seconds=sum(outcome.seconds for outcome in outcomes.values()),
        names=known,
    )


def _subject(
    networks: dict[str, nn.Module],
    images: Any,
    labels: Any,
    groups: Any,
    normalisation: Normalisation | None,
    head: str | None,
    seed: int,
) -> tuple[Subject, bool]:
    """Return what is audited, and whether the network's predictions serve as its labels."""
    pictures = as_images(images).float()
    if not networks:
        raise UsageError("there is no network to audit; give `model`")
    unlabelled = torch.zeros(len(pictures), dtype=torch.int64)
    first = Subject(networks, pictures, unlabelled, None, normalisation, head, seed)
    classes, predicted = with_labels(pictures, labels, first.adapted(next(iter(networks))))
    marks = None if groups is None else whole("groups", groups, len(pictures))
    refuse_unmeasurable(first.image_shape)
    return checked(replace(first, labels=classes, groups=marks)), predicted


def _galleries(
    subject: Subject, owned: Mapping[str, Auxiliary], plan: Plan, listed: Sequence[Situation]
) -> dict[int, Tensor]:
    """Return the gallery of every number of pictures that are attacked in a situation."""
    return {
        count: gallery_of(subject, owned[listed[0].stage], plan.budget.distractors, count)
        for count in {_pictures(subject, plan, situation) for situation in listed}
    }


def _pictures(subject: Subject, plan: Plan, situation: Situation) -> int:
    """Return the number of pictures that are attacked in a situation."""
    return subject.clients(situation, plan.size.pictures) * situation.training.images


def _costs(subject: Subject, plan: Plan, listed: Sequence[Situation]) -> list[Cost]:
    """Return what every defense costs clients and their training."""
    return [
        cost_of(subject, listed[0], situation, plan.size.pictures)
        for situation in listed
        if situation.defense is not None
    ]


def _truths(subject: Subject, plan: Plan, listed: Sequence[Situation]) -> dict[str, Tensor]:
    """Return the private pictures ``[n, c, h, w]`` behind the updates of every situation, by its key."""
    return {
        situation.key: subject.truth(situation, subject.clients(situation, plan.size.pictures))[
            0
        ].flatten(0, 1)
        for situation in listed
    }


def _about(subject: Subject, name: str) -> dict[str, Any]:
    """Return what the page says of the network and the pictures."""
    network = next(iter(subject.networks.values()))
    return {
        "version": __version__,
        "network": name or type(network).__name__,
        "parameters": sum(value.numel() for value in network.parameters()),
        "classes": subject.classes,
        "image_shape": list(subject.image_shape),
        "pictures_given": subject.count,
        "stages": list(subject.networks),
    }


def _about_labels(subject: Subject, predicted: bool) -> Iterator[str]:
    """Yield remarks on labels that nobody gave, or that no update tells."""
    if predicted:
        yield "no labels were given, so that the network's predictions serve as the clients' labels"
    if not all(subject.tells_labels(stage) for stage in subject.networks):
        yield (
            "the network does not end in a linear layer, off which labels are read, so that attackers were given them"
        )
