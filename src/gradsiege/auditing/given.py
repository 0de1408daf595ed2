"""The arguments of an audit, as its parts take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

import torch
from torch import Tensor

from gradsiege import __version__, artifacts
from gradsiege.auditing.auxiliary import Auxiliary, auxiliary
from gradsiege.auditing.budget import Budget
from gradsiege.auditing.parts import COMPUTED
from gradsiege.auditing.situations import Situation
from gradsiege.auditing.subject import Subject
from gradsiege.auditing.words import is_or_are
from gradsiege.errors import UsageError
from gradsiege.federated.observing import as_images
from gradsiege.images import to_bytes
from gradsiege.protocol.local_update import LocalTraining
from gradsiege.protocol.recorded import training_of
from gradsiege.ranges import counted, shown


def as_trainings(training: Any) -> list[LocalTraining]:
    """Return the local trainings, by default one gradient of one picture."""
    listed = list(training) if isinstance(training, list | tuple) else [training]
    if not listed:
        raise UsageError("training is empty; give a gradsiege.LocalTraining, or None")
    for one in listed:
        if one is not None and not isinstance(one, LocalTraining):
            raise UsageError(
                f"training is {shown(one)}; give a gradsiege.LocalTraining, a list of them, or None"
            )
    return [training_of(1 if one is None else one.images, one) for one in listed]


def whole(name: str, given: Any, count: int) -> Tensor:
    """Return an argument that has a whole number for every picture, int64 ``[n]`` on the CPU.

    >>> whole("groups", [4, 4, 7], 3)
    tensor([4, 4, 7])

    Raises:
        UsageError: it has another length or type.
    """
    try:
        numbers = torch.as_tensor(given).detach().cpu()
    except (TypeError, ValueError):
        raise UsageError(f"{name} is {shown(given)}; give one whole number per picture") from None
    if numbers.dtype.is_floating_point or list(numbers.shape) != [count]:
        raise UsageError(
            f"{name} has shape {list(numbers.shape)} and type {numbers.dtype}; give one whole number per picture, [{count}]"
        )
    return numbers.long()


def as_names(given: Any, count: int) -> tuple[str, ...]:
    """Return the names of pictures, one each, or none at all.

    >>> as_names(["a.png", "b.png"], 2), as_names((), 2)
    (('a.png', 'b.png'), ())

    Raises:
        UsageError: there are more or fewer, or one is not text.
    """
    listed = list(given) if isinstance(given, list | tuple) else [given]
    strange = next((name for name in listed if not isinstance(name, str)), None)
    if strange is not None:
        raise UsageError(f"names holds {shown(strange)}; give one text per picture")
    if listed and len(listed) != count:
        raise UsageError(
            f"there {is_or_are(count)} {counted(count, 'picture')} and {counted(len(listed), 'name')}; give one name per picture"
        )
    return tuple(listed)


def fitting(listed: list[Situation], subject: Subject) -> list[Situation]:
    """Refuse clients that hold more pictures than there are."""
    for situation in listed:
        if situation.training.images > subject.count:
            raise UsageError(
                f"a client holds {situation.training.images} pictures, and there {is_or_are(subject.count)} {subject.count}; give more pictures, or a "
                "smaller batch"
            )
    return listed


def owned_by(subject: Subject, stage: str, aux: Any, aux_labels: Any) -> Auxiliary:
    """Return the attacker's pictures, labelled at one stage of training."""
    if aux is None:
        if aux_labels is not None:
            raise UsageError("aux_labels are given without aux; give the pictures too, or neither")
        return auxiliary(subject.adapted(stage), None, None)
    given = as_images(aux, "aux").float()
    if tuple(given.shape[1:]) != subject.image_shape:
        raise UsageError(
            f"aux has pictures of shape {list(given.shape[1:])}, and the private ones have {list(subject.image_shape)}; resize them"
        )
    refuse_shared(given, subject.images)
    marks = None if aux_labels is None else whole("aux_labels", aux_labels, len(given))
    if marks is not None and not 0 <= int(marks.min()) <= int(marks.max()) < subject.classes:
        raise UsageError(
            f"aux_labels range from {int(marks.min())} to {int(marks.max())}; give classes of the network, from 0 to "
            f"{subject.classes - 1}"
        )
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
) -> dict[str, str]:
    """Return digests of all that the results depend on, by its name in words."""
    held = {
        f"{stage}.{name}": value
        for stage, one in owned.items()
        for name, value in vars(one).items()
        if isinstance(value, Tensor)
    }
    return {
        **subject.identity(),
        COMPUTED: _first_updates(subject, listed),
        "attacker's labelled pictures": artifacts.tensors_digest(held, {}),
        **of_choices(listed, budget),
    }


def _first_updates(subject: Subject, listed: Sequence[Situation]) -> str:
    """Return a digest of the first client's update in every situation: of what the code of network and defense computes.

    One thread computes them, since sums over several round otherwise.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        updates = {
            f"{place.key}.{name}": value
            for place in listed
            for name, value in subject.observed(place, 1).update.items()
        }
    finally:
        torch.set_num_threads(threads)
    return artifacts.tensors_digest(updates, {})


def of_choices(listed: Sequence[Situation], budget: Budget) -> dict[str, str]:
    """Return digests of training, defenses, budget and version."""
    # Each once, so that a further defense is not a further training.
    trained = {f"{place.stage} {place.protocol}": asdict(place.training) for place in listed}
    # Without fields an object of the user's own shows its place in memory.
    defended = {
        place.name: repr(place.defense) if is_dataclass(place.defense) else place.name
        for place in listed
    }
    return {
        "training": artifacts.json_digest(list(trained.items())),
        "defenses": artifacts.json_digest(list(defended.items())),
        "budget": artifacts.json_digest(asdict(budget)),
        "version": artifacts.json_digest(__version__),
    }
