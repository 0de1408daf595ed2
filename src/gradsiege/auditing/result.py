"""The result of an audit: what was found, and the one number to quote."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from gradsiege.auditing.costs import Cost
from gradsiege.auditing.findings import Finding
from gradsiege.auditing.plan import Plan
from gradsiege.auditing.scores import Scores
from gradsiege.auditing.situations import NONE

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Result:
    """What an audit found.

    Attributes:
        plan: as it was carried out.
        findings: one per situation, the first one undefended.
        summary: one row per situation and attacker.
        scores: one row per picture and attacker, and the reconstructions.
        costs: one per defense.
        truths: private pictures ``[n, c, h, w]`` by key of a situation.
        about: facts on the inputs.
        seconds: that the attacks took.
        names: of the private pictures in their order; empty where they are numbered.
    """

    plan: Plan
    findings: list[Finding]
    summary: pd.DataFrame
    scores: Scores
    costs: list[Cost]
    truths: dict[str, Tensor]
    about: dict[str, Any]
    seconds: float
    names: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Say what was audited and the one number to quote, without pictures and tables."""
        return (
            f"{type(self).__name__}(situations={len(self.findings)}, rows={len(self.summary)}, decibel={self.decibel:.4g}, "
            f"seconds={self.seconds:.3g})"
        )

    def name_of(self, picture: int) -> str:
        """Return how a picture is told: by its name, or by its number."""
        return self.names[picture] if self.names else f"picture {picture}"

    @property
    def judged(self) -> list[Finding]:
        """The findings that a limit is compared with: those of the first defense, or, without one, all of no defense."""
        defended = [one for one in self.findings if one.situation.name != NONE]
        return defended[:1] or self.findings

    @property
    def worst(self) -> Finding:
        """The judged finding with the highest worst case; one without a number counts as the lowest."""
        return max(
            self.judged,
            key=lambda one: -math.inf if math.isnan(one.psnr.estimate) else one.psnr.estimate,
        )

    @property
    def left_out(self) -> list[str]:
        """Attackers that did not fit into the time of the budget in a situation that the worst case is taken over."""
        return self.plan.without_time({one.situation.key for one in self.judged})

    @property
    def left_out_undefended(self) -> list[str]:
        """Attackers of no defense that did not fit into the time, where a defense is judged by its loss against the strongest of them."""
        bare = {replace(one.situation, defense=None, name=NONE).key for one in self.judged}
        return self.plan.without_time(bare - {one.situation.key for one in self.judged})

    @property
    def decibel(self) -> float:
        """The one number to quote: mean PSNR [dB] of the strongest attacker; NaN if none finished."""
        return self.worst.psnr.estimate

    def exceeds(self, limit: float) -> bool:
        """Return whether the strongest attacker recovers more than `limit` dB; an audit without a number exceeds every limit."""
        return math.isnan(self.decibel) or self.decibel > limit
