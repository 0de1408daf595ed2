"""A trial of one client before anything is planned: code of the user's own that cannot work is told at once, not after minutes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from gradsiege.auditing.situations import NONE, Situation
from gradsiege.auditing.subject import Subject
from gradsiege.defenses import is_user_defined
from gradsiege.errors import GradSiegeError, ModelError, UsageError, in_a_line
from gradsiege.ranges import counted

# Sums of outputs that are this close to 1 are those of probabilities.
ROUNDING = 1e-4
# Pictures that the network is given at once.
TRIED = 8


def tried(subject: Subject, listed: Sequence[Situation]) -> list[str]:
    """Let the network, and every defense that is not of the catalogue, meet the first client; return remarks on the network.

    Raises:
        ModelError: a network's logits or update are not finite.
        UsageError: a defense's code fails, or its update is not one: names of tensors, shapes, finite values.
    """
    told: list[str] = []
    for stage in subject.networks:
        told += _logits(subject, stage)
    for place in listed:
        own = place.defense is not None and is_user_defined(place.defense)
        if place.name == NONE or own:
            _refuse(subject, place)
    return list(dict.fromkeys(told))


def _logits(subject: Subject, stage: str) -> Iterator[str]:
    """Refuse logits that are not finite; yield a remark on those that are probabilities."""
    network = subject.adapted(stage).build()
    images = subject.images[:TRIED].to(next(network.parameters()))
    try:
        with torch.no_grad():
            logits = network(images)
    except Exception as error:
        raise ModelError(
            f"the network ({stage}) does not take {counted(len(images), 'picture')} at once: {in_a_line(error)}"
        ) from error
    if not bool(torch.isfinite(logits).all()):
        raise ModelError(
            f"the network ({stage}) answers pictures with values that are not finite; look for NaN or infinity in its weights"
        )
    sums = logits.sum(1)
    if bool((logits >= 0).all()) and bool(((sums - 1).abs() < ROUNDING).all()):
        yield (
            "the network's outputs are not negative and add up to 1, as probabilities do: clients and attackers take them for logits, so that "
            "a softmax at its end should be left out"
        )


def _refuse(subject: Subject, place: Situation) -> None:
    """Refuse what the first client of a situation would send if it is not an update."""
    name = "the network" if place.defense is None else f"the defense {place.name}"
    try:
        seen = subject.observed(place, 1)
    except GradSiegeError:
        raise
    except (Exception, SystemExit) as error:
        if place.defense is None and isinstance(error, Exception):
            raise
        raise UsageError(
            f"{name} fails on the first client: {in_a_line(error)}; mend its code"
        ) from error
    for tensor, value in seen.update.items():
        if not value.is_floating_point():
            raise UsageError(
                f"{name}: the update of {tensor} is of the type {value.dtype} on the first client; return its values as floating-point numbers"
            )
        if not bool(torch.isfinite(value).all()):
            raise (ModelError if place.defense is None else UsageError)(
                f"{name}: the update of {tensor} is not finite on the first client; look for NaN, infinity or a division by zero"
            )
