"""The identity of a computation: a digest of all that the result of an attack depends on, beside its saved progress."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from gradsiege.attacks.knowledge import Knowledge
from gradsiege.checkpoints import identity_of
from gradsiege.protocol.observation import Observation


def identity(knowledge: Knowledge, about: Mapping[str, Any]) -> str:
    """Return a digest of all that an attacker knows, tensors by content, and of `about`: the attack, its settings, its seed."""
    seen = knowledge.observation
    tensors = _seen(seen)
    for place, prior in enumerate(knowledge.priors):
        tensors |= _prefixed(f"prior{place}", prior.weights)
    facts = {
        **about,
        # The weights' names and shapes do not tell a ReLU from a sigmoid; the text of the network does.
        "model": [seen.model.describe(), str(seen.model.build())],
        "images": seen.images_per_client,
        "training": asdict(seen.training) if seen.training else None,
        "disclosure": seen.disclosure,
        "failures": seen.failures,
        "progress": seen.progress,
        "threat": asdict(knowledge.threat),
        "priors": [[prior.name, prior.card] for prior in knowledge.priors],
    }
    return identity_of(tensors, facts)


def _seen(seen: Observation) -> dict[str, Tensor]:
    """Return every tensor of an observation, each under a name of its own."""
    tensors = _prefixed("statistics", seen.statistics)
    if seen.labels is not None:
        tensors["labels"] = seen.labels
    if seen.candidates is not None:
        tensors["candidates"] = seen.candidates
    for number, round_ in enumerate((seen, *seen.later)):
        for part in ("parameters", "buffers", "update"):
            tensors |= _prefixed(f"round{number}.{part}", getattr(round_, part))
    return tensors


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}
