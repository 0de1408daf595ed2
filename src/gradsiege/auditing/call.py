"""`gradsiege.audit`: what an honest but curious server could see of the clients of a federation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gradsiege import __version__
from gradsiege.attacks.device import AUTO, describe, where_to_run
from gradsiege.auditing.audit import Audit
from gradsiege.auditing.auxiliary import Auxiliary, auxiliary
from gradsiege.auditing.budget import Budget, budget_named
from gradsiege.auditing.costs import cost_of
from gradsiege.auditing.findings import found
from gradsiege.auditing.parts import Parts
from gradsiege.auditing.plan import Plan, Size, in_words, laid_out, measured_pace, sized, within
from gradsiege.auditing.run import Runner
from gradsiege.auditing.scores import gallery_of, scored
from gradsiege.auditing.settings import Chooser
from gradsiege.auditing.situations import Situation, situations
from gradsiege.auditing.source import Source
from gradsiege.auditing.subject import Normalisation, Subject, checked, refuse_others, with_labels
from gradsiege.defenses.base import Defense
from gradsiege.errors import UsageError
from gradsiege.images import to_bytes
from gradsiege.protocol.local_update import LocalTraining, with_gradients
from gradsiege.protocol.recorded import training_of

Tell = Callable[[str], None]


@with_gradients()
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
    normalisation: Normalisation | None = None,
    head: str | None = None,
    name: str = "",
    seed: int = 0,
    device: str = AUTO,
    resume: Path | str | None = None,
    tell: Tell = lambda words: None,
    remarks: Sequence[str] = (),
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
    where = where_to_run(device)
    chosen, refused = budget_named(budget), list(defenses)
    refuse_others(refused)
    networks = model if isinstance(model, Mapping) else {"given": model}
    pictures = _pictures(images)
    if not networks or not pictures.numel():
        raise UsageError(
            "there is no network to audit; give `model`"
            if not networks
            else "there is no picture to audit; give at least one"
        )
    first = Subject(
        dict(networks),
        pictures,
        torch.zeros(len(pictures), dtype=torch.int64),
        None,
        normalisation,
        head,
        seed,
    )
    classes, predicted = with_labels(pictures, labels, first.adapted(next(iter(networks))))
    marks = None if groups is None else torch.as_tensor(groups).long()
    subject = checked(replace(first, labels=classes, groups=marks))
    trainings = _trainings(training)
    listed = _fitting(situations(list(networks), trainings, refused), subject)
    owned = {stage: _owned(subject, stage, aux, aux_labels) for stage in networks}
    parts = Parts(
        None if resume is None else Path(resume), _identity(subject, listed, chosen, owned)
    )
    plan = planned(subject, listed, chosen, parts, device)
    tell(in_words(plan))
    galleries = {
        count: gallery_of(subject, owned[listed[0].stage], chosen.distractors, count)
        for count in {
            subject.clients(place, plan.size.pictures) * place.training.images for place in listed
        }
    }
    chooser = Chooser(plan.budget, seed, device, parts.settings)
    plan, outcomes = Runner(subject, owned, galleries.__getitem__, parts, chooser).run(plan)
    scores = scored(subject, plan, outcomes, galleries, owned)
    findings, summary = found(scores.table, listed, seed)
    costs = [
        cost_of(subject, listed[0], place, plan.size.pictures)
        for place in listed
        if place.defense is not None
    ]
    told = list(remarks)
    if predicted:
        told.append(
            "no labels were given, so that the network's predictions serve as the clients' labels"
        )
    if not all(subject.tells_labels(stage) for stage in networks):
        told.append(
            "the network does not end in a linear layer, off which labels are read, so that attackers were given them"
        )
    about = {
        "version": __version__,
        "network": name or type(next(iter(networks.values()))).__name__,
        "parameters": sum(value.numel() for value in next(iter(networks.values())).parameters()),
        "classes": subject.classes,
        "image_shape": list(subject.image_shape),
        "pictures_given": subject.count,
        "stages": list(networks),
        "auxiliary": owned[listed[0].stage].source,
        "gallery": max(len(gallery) for gallery in galleries.values()),
        "device": describe(where),
        "seed": seed,
        "remarks": told,
    }
    truths = {
        place.key: subject.truth(place, subject.clients(place, plan.size.pictures))[0].flatten(0, 1)
        for place in listed
    }
    seconds = sum(outcome.seconds for outcome in outcomes.values())
    return Audit(plan, findings, summary, scores, costs, truths, about, seconds)


def planned(
    source: Source,
    listed: Sequence[Situation],
    budget: Budget,
    parts: Parts,
    device: str,
    auxiliary: bool = True,
) -> Plan:
    """Return the plan; its size is measured once, and taken from the folder when the audit goes on."""
    settled = parts.settled()
    if settled is None:
        pace = measured_pace(source, listed[0], budget, device)
        size = sized(source, listed, budget, pace, auxiliary)
        parts.settle({**asdict(size), "notes": list(size.notes)})
    else:
        size = Size(**{**settled, "notes": tuple(settled["notes"])})
    return within(laid_out(source, listed, budget, size, auxiliary), 0.0)


def _pictures(images: Any) -> Tensor:
    """Return pictures as float32 on the CPU; `observe` refuses a wrong shape or range."""
    given = images if isinstance(images, Tensor) else torch.as_tensor(images)
    return given.detach().cpu().float() if given.is_floating_point() else given.detach().cpu()


def _trainings(training: Any) -> list[LocalTraining]:
    """Return the local trainings, by default one gradient of one picture."""
    listed = list(training) if isinstance(training, list | tuple) else [training]
    if not listed:
        raise UsageError("training is empty; give a gradsiege.LocalTraining, or None")
    return [training_of(1 if one is None else one.images, one) for one in listed]


def _fitting(listed: list[Situation], subject: Subject) -> list[Situation]:
    """Refuse clients that hold more pictures than there are."""
    for situation in listed:
        if situation.training.images > subject.count:
            raise UsageError(
                f"a client holds {situation.training.images} pictures, and there are {subject.count}; give more pictures, or a "
                "smaller batch"
            )
    return listed


def _owned(subject: Subject, stage: str, aux: Any, aux_labels: Any) -> Auxiliary:
    """Return the attacker's pictures, labelled at one stage of training."""
    given = None if aux is None else _pictures(aux)
    if given is not None and tuple(given.shape[1:]) != subject.image_shape:
        raise UsageError(
            f"aux has pictures of shape {list(given.shape[1:])}, and the private ones have {list(subject.image_shape)}; resize them"
        )
    if given is not None:
        refuse_shared(given, subject.images)
    marks = None if aux_labels is None else torch.as_tensor(aux_labels).long()
    return auxiliary(subject.adapted(stage), given, marks)


def refuse_shared(aux: Tensor, private: Tensor) -> None:
    """Refuse public pictures that are private ones, byte by byte: the attacker would hold what it looks for.

    >>> refuse_shared(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))

    Raises:
        UsageError: names the first one.
    """
    held = {image.numpy().tobytes() for image in to_bytes(aux)}
    shared = [
        place for place, image in enumerate(to_bytes(private)) if image.numpy().tobytes() in held
    ]
    if shared:
        raise UsageError(
            f"aux holds {len(shared)} of the {len(private)} private pictures, number {shared[0]} first; leave them out of one of both, "
            "since the attacker must not own what it looks for"
        )


def _identity(
    subject: Subject, listed: Sequence[Situation], budget: Budget, owned: Mapping[str, Auxiliary]
) -> str:
    """Return a digest of all that the results depend on."""
    from gradsiege import artifacts

    places = [[place.key, asdict(place.training), repr(place.defense)] for place in listed]
    held = {
        f"{stage}.{name}": value
        for stage, one in owned.items()
        for name, value in vars(one).items()
        if isinstance(value, Tensor)
    }
    return artifacts.json_digest(
        [
            subject.identity(),
            places,
            asdict(budget),
            artifacts.tensors_digest(held, {}),
            __version__,
        ]
    )
