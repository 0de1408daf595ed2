"""`gradsiege.audit_rounds`: what recorded uploads give away, round by round, without any truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from gradsiege import artifacts
from gradsiege.auditing.audit import DOCUMENT, PAGE
from gradsiege.auditing.budget import Budget, budget_named
from gradsiege.auditing.document import plain
from gradsiege.auditing.page.rounds import render_rounds
from gradsiege.auditing.private import ROUND, lock_up, private_folder
from gradsiege.auditing.recorded import RecordedAudit, audit_updates
from gradsiege.auditing.recorded_result import RecordedRounds
from gradsiege.auditing.uploads import refuse_unfit, remarks_of, stacked
from gradsiege.errors import UsageError
from gradsiege.integrations.recordings import Recording
from gradsiege.protocol.arguments import sentences
from gradsiege.protocol.local_update import LocalTraining


@dataclass(frozen=True, eq=False, repr=False)
class RoundsAudit(RecordedRounds):
    """Results of the uploads of several rounds, as `gradsiege.audit_rounds` returns them."""

    rounds: Mapping[int, RecordedAudit]

    def save(self, folder: Path | str, pictures: bool = True) -> Path:
        """Write a page about all rounds, ``audit.json``, and a folder for every round; return the page."""
        place = private_folder(Path(folder), [_named(number) for number in self.rounds])
        for number, audit in self.rounds.items():
            audit.save(_of_round(place, number), pictures)
        artifacts.write_text(place / PAGE, render_rounds(self, pictures))
        artifacts.write_json(place / DOCUMENT, plain(self.document()))
        lock_up(place)
        return place / PAGE


def audit_rounds(
    uploads: Sequence[Recording],
    model: nn.Module,
    image_shape: tuple[int, int, int],
    training: LocalTraining,
    budget: str | Budget = "quick",
    *,
    resume: Path | str | None = None,
    remarks: str | Sequence[str] = (),
    **arguments: Any,
) -> RoundsAudit:
    """Reconstruct the pictures behind the uploads of every recorded round; how like the private ones they are, this cannot say.

    Args:
        uploads: as `gradsiege.integrations.recordings.recordings` returns them.
        model: the federation's network, as it is built before training; each round starts from the weights that were sent.
        image_shape: channels, height and width of a private picture.
        training: of every client, with its learning rate.
        budget: of all rounds together; each gets an equal part of the time.
        resume: folder of finished parts, in which every round has a folder of its own.
        remarks: about all rounds; the recorder's notes of a round, and what its strategy says of differential privacy, follow them.
        arguments: further ones of `gradsiege.audit_updates`: defense, normalisation, head, name, seed, device, tell.

    Raises:
        UsageError: there is no upload.
        ModelError: an upload does not fit the network or the number of pictures in `training`, or is not finite; or clients of a round
            were sent different networks.
    """
    numbers = sorted({upload.round for upload in uploads})
    if not numbers:
        raise UsageError("there is no upload to audit; give at least one recording")
    chosen = budget_named(budget)
    of_one = replace(chosen, seconds=chosen.seconds / len(numbers))
    names = [_named(number) for number in numbers]
    folder = None if resume is None else private_folder(Path(resume), names)
    listed = {
        number: [upload for upload in uploads if upload.round == number] for number in numbers
    }
    for received in listed.values():
        refuse_unfit(received, model, training)  # before the first round is attacked
    rounds: dict[int, RecordedAudit] = {}
    for number, received in listed.items():
        network, updates = stacked(received, model)
        audit = audit_updates(
            network.eval(),
            updates,
            image_shape,
            training,
            budget=of_one,
            unit="difference",
            resume=None if folder is None else _of_round(folder, number),
            remarks=[*sentences(remarks), *remarks_of(received)],
            **arguments,
        )
        # The recorder saw all uploads of the round, also those that it did not keep.
        shared = all(upload.shared for upload in received)
        rounds[number] = replace(audit, equal=audit.equal or shared)
    return RoundsAudit(rounds)


def _of_round(folder: Path, number: int) -> Path:
    """Return the folder of a round.

    >>> _of_round(Path("audit"), 3).as_posix()
    'audit/round-0003'
    """
    return folder / _named(number)


def _named(number: int) -> str:
    return f"{ROUND}{number:04d}"
