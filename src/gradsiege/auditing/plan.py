"""The plan of an audit: which attacks run where, with what effort, and how long that will take on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gradsiege.auditing.budget import Budget
from gradsiege.auditing.portfolio import Attacker, portfolio, why_not
from gradsiege.auditing.situations import Situation
from gradsiege.auditing.source import Source
from gradsiege.auditing.times import Size, effort_of, seconds_of, tuning_seconds
from gradsiege.auditing.words import attacker_in_words, counted, lasting

# Expected times are estimates; up to this multiple of the budget's time a part still begins.
HARD = 1.25


@dataclass(frozen=True, eq=False)
class Part:
    """One attack in one situation.

    Attributes:
        seconds: expected time; reason: why it is left out, empty if it runs.
    """

    situation: Situation
    attacker: Attacker
    seconds: float
    reason: str = ""

    @property
    def key(self) -> str:
        """Text that tells the part from the others of an audit."""
        return f"{self.situation.key}/{self.attacker.threat.id}/{self.attacker.id}"


@dataclass(frozen=True, eq=False)
class Plan:
    """The parts of an audit in the order in which they run, the most important first."""

    budget: Budget
    size: Size
    parts: tuple[Part, ...]

    @property
    def seconds(self) -> float:
        """Expected time of all parts that run."""
        return sum(part.seconds for part in self.parts if not part.reason)

    @property
    def running(self) -> list[Part]:
        """The parts that are not left out."""
        return [part for part in self.parts if not part.reason]


def laid_out(
    source: Source, listed: Sequence[Situation], budget: Budget, size: Size, auxiliary: bool = True
) -> Plan:
    """Return the parts of an audit with their expected times, sorted so that the most important come first.

    Parts beyond the time limit of the budget are left out, whole ranks of attackers before single ones.
    """
    budget = replace(budget, trials=size.trials)
    parts = []
    for situation in listed:
        effort = effort_of(source, situation, budget, size, auxiliary)
        for attacker in portfolio(situation, effort):
            reason = why_not(attacker, situation, effort, budget.rank)
            expected = seconds_of(attacker, situation, effort, size)
            expected += tuning_seconds(attacker, situation, budget, size)
            parts.append(Part(situation, attacker, expected, reason))
    return Plan(budget, size, tuple(sorted(parts, key=lambda part: part.attacker.rank)))


def in_words(plan: Plan) -> str:
    """Return the plan as it is printed before anything runs."""
    situations = list(dict.fromkeys(part.situation.key for part in plan.running))
    lines = [
        f"{plan.budget.name}: {counted(len(plan.running), 'attack')} in {counted(len(situations), 'situation')} on "
        f"{counted(plan.size.pictures, 'picture')}, {counted(plan.size.iterations, 'iteration')}; about {lasting(plan.seconds)} "
        "on this machine",
        *(f"  {note}" for note in plan.size.notes),
    ]
    left = dict.fromkeys(
        f"{attacker_in_words(part.attacker.id)}: {part.reason}"
        for part in plan.parts
        if part.reason
    )
    lines += [f"  left out: {words}" for words in left]
    return "\n".join(lines)


def within(plan: Plan, spent: float) -> Plan:
    """Return the plan without the parts that the remaining time of the budget does not hold, given what was spent."""
    return replace(plan, parts=tuple(_kept(plan, spent)))


def _kept(plan: Plan, spent: float) -> list[Part]:
    kept, total = [], spent
    for part in plan.parts:
        if (
            not part.reason
            and total + part.seconds > HARD * plan.budget.seconds
            and part.attacker.rank > 0
        ):
            part = replace(part, reason="the time of the budget does not hold it")
        elif not part.reason:
            total += part.seconds
        kept.append(part)
    return kept
