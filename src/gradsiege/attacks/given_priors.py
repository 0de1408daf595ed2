"""The priors that an attack is handed: trained ones, of the kinds that it uses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gradsiege import catalogue
from gradsiege.errors import ThreatModelError, UsageError
from gradsiege.priors import load
from gradsiege.priors.base import Prior, TrainedPrior

KIND = "prior:"


def kinds_in(requirements: Iterable[str]) -> tuple[str, ...]:
    """Return the kinds of priors among requirements; an attack needs one of them.

    >>> kinds_in(("protocol", "prior:autoencoder", "prior:pca"))
    ('autoencoder', 'pca')
    """
    return tuple(name.removeprefix(KIND) for name in requirements if name.startswith(KIND))


def trained_ones(given: Any) -> tuple[TrainedPrior, ...]:
    """Return the priors of a list, or a single one, as a tuple.

    Raises:
        UsageError: one of them is not trained, or is only what the training returned.
    """
    priors = tuple(given) if isinstance(given, list | tuple) else (given,)
    for prior in priors:
        if isinstance(prior, Prior):
            kind = type(prior).__name__
            raise UsageError(
                f"the prior {prior.name} is not trained: give what {kind}(...).fit(images, labels) returns"
            )
        if not isinstance(prior, TrainedPrior):
            raise UsageError(
                f"{type(prior).__name__} is not a trained prior: give what `fit` of a prior returns, or "
                "gradsiege.priors.TrainedPrior(name, weights, card)"
            )
    return priors


def check(
    priors: Sequence[TrainedPrior],
    attack: str,
    needed: Sequence[str],
    further: Sequence[str] = (),
) -> None:
    """Refuse priors that an attack does not use, and an attack without one that it needs.

    Args:
        priors: what the attack is handed.
        attack: its name.
        needed: kinds of which it needs one.
        further: kinds that it uses as well.
    """
    kinds = (*needed, *further)
    for prior in priors:
        if prior.name not in kinds:
            uses = f"it uses {' or '.join(kinds)}" if kinds else "it uses none"
            raise UsageError(
                f"{attack} has no use for the prior {prior.name}: {uses}. Leave it out"
            )
    if needed and not any(prior.name in needed for prior in priors):
        raise lacking(attack, needed)


def lacking(attack: str, kinds: Sequence[str]) -> ThreatModelError:
    """Return the error of an attack without a prior of one of these kinds."""
    entry = catalogue.entries("priors").get(kinds[0])
    learner = f"gradsiege.priors.{entry.method}()" if entry and not entry.distribution else kinds[0]
    return ThreatModelError(
        f"{attack} needs a prior of the kind {' or '.join(kinds)}: in Python give it, such as "
        f"`priors={learner}.fit(images, labels)`; in a study file name it in 'prior' of the attack"
    )


def projection(prior: TrainedPrior, like: Tensor, attack: str) -> nn.Module:
    """Return the network of a prior that maps images to images; refuse one that was trained on another shape.

    like: one image ``[1, c, h, w]`` of the private images' shape, on the device of the attack.
    """
    network: nn.Module = load(prior.name, prior.weights).to(like.device)
    try:
        with torch.no_grad():
            fits = network(like).shape == like.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ThreatModelError(
            f"{attack}: the prior {prior.name} does not take images of shape {list(like.shape[1:])}; train it on images "
            "of their shape"
        )
    return network
