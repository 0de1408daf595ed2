"""The uploads of one round as the updates of an audit, and what the recorder noted of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gradsiege.errors import ModelError
from gradsiege.integrations.recordings import Recording
from gradsiege.protocol.local_update import LocalTraining


def stacked(uploads: Sequence[Recording], model: nn.Module) -> tuple[nn.Module, dict[str, Tensor]]:
    """Return the network that the clients of a round were sent, and their differences ``[clients, *shape]`` by parameter.

    Raises:
        ModelError: as `refuse_unfit`.
    """
    network, update = uploads[0].difference(model)
    rows = [update] + [upload.difference(model)[1] for upload in uploads[1:]]
    return network, {name: torch.stack([row[name] for row in rows]) for name in update}


def refuse_unfit(uploads: Sequence[Recording], model: nn.Module, training: LocalTraining) -> None:
    """Refuse uploads of a round that cannot be audited together, one upload after the other.

    Raises:
        ModelError: an upload does not fit the network or the training, or clients were sent different networks, from which one audit
            cannot start.
    """
    first = uploads[0]
    for upload in uploads:
        upload.refuse_other_images(training)
        upload.difference(model)
        if not _same(upload.sent, first.sent):
            raise ModelError(
                f"round {first.round}: clients {first.client} and {upload.client} were sent different networks, and an audit starts from "
                "one; call `audit_rounds` once for every network, with the uploads of its clients"
            )


def _same(some: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> bool:
    return some.keys() == others.keys() and all(
        torch.equal(value, others[name]) for name, value in some.items()
    )


def remarks_of(uploads: Sequence[Recording]) -> list[str]:
    """Return the notes of a round's uploads and what the strategy says of differential privacy, each with the number of its uploads.

    >>> remarks_of([Recording(1, "a", {}, {}, notes=("It clips.",)), Recording(1, "b", {}, {})])
    ['it clips (1 of 2 uploads)']
    >>> remarks_of([Recording(1, "a", {}, {}, defense={"side": "client", "noise_multiplier": 1.0})])
    ["the server's strategy states differential privacy: side client, noise_multiplier 1.0"]
    """
    counts: dict[str, int] = {}
    for upload in uploads:
        for words in dict.fromkeys([*_privacy(upload.defense), *map(_sentence, upload.notes)]):
            counts[words] = counts.get(words, 0) + 1
    return [
        words if count == len(uploads) else f"{words} ({count} of {len(uploads)} uploads)"
        for words, count in counts.items()
    ]


def _sentence(note: str) -> str:
    """Return a note without its stop, and with a small first letter unless an acronym begins it.

    >>> _sentence("It clips."), _sentence("DP-SGD noise is added.")
    ('it clips', 'DP-SGD noise is added')
    """
    begins = note[:1].lower() if note[1:2].islower() or note[1:2] == " " else note[:1]
    return begins + note[1:].rstrip(".")


def _privacy(defense: Mapping[str, Any]) -> Iterable[str]:
    if defense:
        told = ", ".join(f"{name} {value}" for name, value in defense.items())
        yield f"the server's strategy states differential privacy: {told}"
