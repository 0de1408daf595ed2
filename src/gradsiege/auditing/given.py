"""The arguments of an audit, as its parts take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from gradsiege import __version__, artifacts
from gradsiege.auditing.auxiliary import Auxiliary, auxiliary
from gradsiege.auditing.budget import Budget
from gradsiege.auditing.situations import Situation
from gradsiege.auditing.subject import Subject
from gradsiege.errors import UsageError
from gradsiege.images import to_bytes
from gradsiege.protocol.local_update import LocalTraining
from gradsiege.protocol.recorded import training_of


def as_pictures(images: Any) -> Tensor:
    """Return pictures as float32 on the CPU; `observe` refuses a wrong shape or range."""
    given = images if isinstance(images, Tensor) else torch.as_tensor(images)
    return given.detach().cpu().float() if given.is_floating_point() else given.detach().cpu()


def as_trainings(training: Any) -> list[LocalTraining]:
    """Return the local trainings, by default one gradient of one picture."""
    listed = list(training) if isinstance(training, list | tuple) else [training]
    if not listed:
        raise UsageError("training is empty; give a gradsiege.LocalTraining, or None")
    return [training_of(1 if one is None else one.images, one) for one in listed]


def fitting(listed: list[Situation], subject: Subject) -> list[Situation]:
    """Refuse clients that hold more pictures than there are."""
    for situation in listed:
        if situation.training.images > subject.count:
            raise UsageError(
                f"a client holds {situation.training.images} pictures, and there are {subject.count}; give more pictures, or a "
                "smaller batch"
            )
    return listed


def owned_by(subject: Subject, stage: str, aux: Any, aux_labels: Any) -> Auxiliary:
    """Return the attacker's pictures, labelled at one stage of training."""
    given = None if aux is None else as_pictures(aux)
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


def identity_of(
    subject: Subject, listed: Sequence[Situation], budget: Budget, owned: Mapping[str, Auxiliary]
) -> str:
    """Return a digest of all that the results depend on."""
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
