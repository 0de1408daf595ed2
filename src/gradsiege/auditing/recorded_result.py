"""Results of recorded updates, without any truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from gradsiege.auditing.plan import Plan
from gradsiege.auditing.words import some_of
from gradsiege.ranges import counted


@dataclass(frozen=True, eq=False)
class Match:
    """Reconstructions by one attack.

    Attributes:
        attacker, knows: its name and threat model.
        loss: its matching loss, ``[clients]``; smaller fits better. Losses of different attackers cannot be compared.
        labels: ``[clients, images]``; images: ``[clients, images, c, h, w]``.
    """

    attacker: str
    knows: str
    loss: Tensor
    labels: Tensor = field(repr=False)
    images: Tensor = field(repr=False)
    failures: Mapping[int, str]


@dataclass(frozen=True, eq=False)
class RecordedResult:
    """Results of the recorded updates of one network.

    Attributes:
        plan: as it was carried out; matches: one per attack.
        norms: l2 norm of every recorded update; labels: inferred, ``[clients, images]``.
        equal: whether several clients uploaded the same, as secure aggregation makes it look.
        refused: (attacker, reason) of attacks that do not apply.
        attacked: number of updates that attacks ran on, the first ones; memory and time may not hold all.
    """

    plan: Plan
    matches: list[Match]
    norms: Tensor
    labels: Tensor
    equal: bool
    refused: list[tuple[str, str]]
    about: dict[str, Any]
    attacked: int

    def __repr__(self) -> str:
        """Say the result in one sentence, without the reconstructions."""
        return f"{type(self).__name__}({self.sentence()!r})"

    def sentence(self) -> str:
        """Return the result in one sentence."""
        if self.equal:
            return (
                "Several clients' uploads are equal: the server received an aggregate, as secure aggregation sends it, and what was "
                f"reconstructed from {some_of(self.attacked, len(self.norms), 'update')} belongs to no single client."
            )
        return (
            f"{some_of(self.attacked, len(self.norms), 'update')} reconstructed by {counted(len(self.matches), 'attack')}; only the owners "
            "of the private pictures can tell how like them the reconstructions are."
        )

    def document(self) -> dict[str, Any]:
        """Return the result as plain data."""
        return {
            "format": 1,
            "recorded": True,
            "clients": len(self.norms),
            "attacked": self.attacked,
            "equal_updates": self.equal,
            "norms": self.norms.tolist(),
            "labels": self.labels.tolist(),
            "matches": [
                {
                    "attacker": match.attacker,
                    "knows": match.knows,
                    "matching_loss": match.loss.tolist(),
                    "labels": match.labels.tolist(),
                    "failures": {str(client): why for client, why in match.failures.items()},
                }
                for match in self.matches
            ],
            "not_run": [{"attacker": name, "reason": why} for name, why in self.refused],
            "about": self.about,
        }


@dataclass(frozen=True, eq=False)
class RecordedRounds:
    """Results of the uploads of several rounds, by number of the round."""

    rounds: Mapping[int, RecordedResult]

    def __repr__(self) -> str:
        """Say the result in one sentence, without the reconstructions."""
        return f"{type(self).__name__}({self.sentence()!r})"

    def sentence(self) -> str:
        """Return the result in one sentence.

        >>> RecordedRounds({}).sentence()
        '0 updates of 0 rounds were attacked; only the owners of the private pictures can tell how like them the reconstructions are.'
        """
        attacked = sum(audit.attacked for audit in self.rounds.values())
        recorded = sum(len(audit.norms) for audit in self.rounds.values())
        return (
            f"{some_of(attacked, recorded, 'update')} of {counted(len(self.rounds), 'round')} were attacked; only the owners of the "
            "private pictures can tell how like them the reconstructions are."
        )

    def document(self) -> dict[str, Any]:
        """Return the result as plain data, one entry per round."""
        return {
            "format": 1,
            "recorded": True,
            "rounds": [
                {"round": number, **audit.document()} for number, audit in self.rounds.items()
            ],
        }
