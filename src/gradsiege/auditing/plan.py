"""The plan of an audit: which attacks run where, with what effort, and how long that will take on this machine."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from gradsiege.attacks.base import Attack, Learned
from gradsiege.attacks.lookup.base import Lookup
from gradsiege.attacks.recipes.maximum_a_posteriori import MaximumAPosteriori
from gradsiege.auditing.budget import Budget
from gradsiege.auditing.portfolio import (
    FIRST,
    MODE,
    MOST_OF_MODE,
    Attacker,
    portfolio,
    rate_of,
    why_not,
)
from gradsiege.auditing.situations import Situation
from gradsiege.auditing.source import Source
from gradsiege.auditing.times import Size, effort_of, seconds_of, tuning_seconds
from gradsiege.auditing.words import attacker_in_words, lasting
from gradsiege.ranges import counted

# Expected times are estimates; up to this multiple of the budget's time a part still begins.
HARD = 1.25
# Share of the budget's time that finished parts must have been expected to take before their pace tells how fast the machine is.
TELLING = 0.05
NO_TIME = "the time of the budget does not hold it"


@dataclass(frozen=True, eq=False)
class Part:
    """One attack in one situation.

    Attributes:
        seconds: expected time; tuning: the part of it that the choice of settings takes.
        reason: why it is left out, empty if it runs.
        chosen: whether its settings are chosen, as far as the budget does that.
    """

    situation: Situation
    attacker: Attacker
    seconds: float
    tuning: float = 0.0
    reason: str = ""
    chosen: bool = True

    @property
    def key(self) -> str:
        """Text that tells the part from the others of an audit."""
        return f"{self.situation.key}/{self.attacker.threat.id}/{self.attacker.id}"

    @property
    def shortens(self) -> bool:
        """Whether fewer iterations make it faster."""
        return not isinstance(self.attacker.attack, Lookup | Learned)

    def shortened(self, iterations: int) -> bool:
        """Return whether it runs with less than planned, of `iterations` for every attack."""
        planned = min(MOST_OF_MODE, iterations) if self.attacker.attack.name == MODE else iterations
        return self.shortens and (self.attacker.attack.iterations < planned or not self.chosen)

    def with_iterations(self, iterations: int) -> Part:
        """Return the part with so many iterations of its attack, and the time that these are expected to take."""
        share = iterations / self.attacker.attack.iterations
        attack = replace(self.attacker.attack, iterations=iterations)
        return replace(
            self,
            attacker=replace(self.attacker, attack=self._stepping(attack)),
            seconds=share * self.seconds,
            # Every trial of settings has as many iterations as the attack.
            tuning=share * self.tuning,
        )

    def as_published(self) -> Part:
        """Return the part without a choice of settings, if there was to be one."""
        if not self.tuning:
            return self
        return replace(self, seconds=self.seconds - self.tuning, tuning=0.0, chosen=False)

    def _stepping(self, attack: Attack) -> Attack:
        """Return a search for the mode whose steps make up for few iterations, where no choice of settings finds longer ones."""
        if self.chosen or not isinstance(attack, MaximumAPosteriori):
            return attack
        return replace(attack, learning_rate=rate_of(attack.iterations))


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

    def without_time(self, situations: Collection[str]) -> list[str]:
        """Return every attacker that was left out for want of time in one of some situations, which are named by their keys.

        An attacker that runs in one of them and is left out in another is among these, since the worst case is that of all.
        """
        left = [
            part.attacker.id
            for part in self.parts
            if part.reason == NO_TIME and part.situation.key in situations
        ]
        return list(dict.fromkeys(left))

    @property
    def notes(self) -> list[str]:
        """Cuts that were made before anything ran or when time ran short, in sentences."""
        told = list(self.size.notes)
        short = [part for part in self.running if part.shortened(self.size.iterations)]
        if short:
            least = min(part.attacker.attack.iterations for part in short)
            told.append(
                f"{counted(len(short), 'attack')} with fewer iterations than planned, at least {least}, or without a choice of "
                "settings, since the time of the budget does not hold more"
            )
        return told


def laid_out(
    source: Source, listed: Sequence[Situation], budget: Budget, size: Size, spare: int
) -> Plan:
    """Return the parts of an audit with their expected times, sorted so that those that decide the worst case come first.

    spare: pictures of the attacker on which settings are chosen.
    """
    budget = replace(budget, trials=size.trials, restarts=size.restarts)
    parts = []
    for situation in listed:
        effort = effort_of(source, situation, budget, size)
        for attacker in portfolio(situation, effort):
            reason = why_not(attacker, situation, effort, budget.rank)
            expected = seconds_of(attacker, situation, effort, size)
            tuning = tuning_seconds(attacker, situation, effort, budget, size, spare)
            parts.append(Part(situation, attacker, expected + tuning, tuning, reason))
    return Plan(budget, size, tuple(sorted(parts, key=lambda part: part.attacker.turn)))


def in_words(plan: Plan) -> str:
    """Return the plan as it is printed before anything runs."""
    situations = list(dict.fromkeys(part.situation.key for part in plan.running))
    lines = [
        f"{plan.budget.name}: {counted(len(plan.running), 'attack')} in {counted(len(situations), 'situation')} on "
        f"{counted(plan.size.pictures, 'picture')}, {counted(plan.size.iterations, 'iteration')}; about {lasting(plan.seconds)} "
        "on this machine",
        *(f"  {note}" for note in plan.notes),
    ]
    left = dict.fromkeys(
        f"{attacker_in_words(part.attacker.id)}: {part.reason}"
        for part in plan.parts
        if part.reason
    )
    lines += [f"  left out: {words}" for words in left]
    return "\n".join(lines)


def within(
    plan: Plan, spent: float, slowness: float = 1.0, reached: Mapping[str, Part] | None = None
) -> Plan:
    """Return the plan as it fits into the remaining time of the budget.

    Attackers that decide the worst case give up the choice of settings first, then iterations, and are left out only if the
    least number of iterations does not fit either. All other parts are left out if the time does not hold them.

    An attack keeps the iterations and the choice of settings that it had where it ran first, as far as the time holds them: an informed
    attacker that spends less than its like on no defense proves nothing (`analysis.recipes`). Attacks that have not run yet give up more
    instead.

    Args:
        plan: its parts in the order in which they run.
        spent: seconds that finished parts took.
        slowness: times that they took over times that were expected, at least 1.
        reached: the first finished part of every attack that decides, by the attack's name.
    """
    left = (plan.budget.seconds - spent) / slowness
    alike, alone = _shortened(plan, left, reached or {}), _shortened(plan, left, {})
    kept, total = [], spent
    for part, less in zip(alike, alone, strict=True):
        one = next((one for one in (part, less) if _fits(one, plan, total, slowness)), None)
        if one is None:
            one = replace(less, reason=less.reason or NO_TIME)
        elif not one.reason:
            total += slowness * one.seconds
        kept.append(one)
    return replace(plan, parts=tuple(kept))


def _fits(part: Part, plan: Plan, total: float, slowness: float) -> bool:
    """Return whether a part still begins after `total` seconds; one that is left out already takes none."""
    if part.reason or part.attacker.turn == FIRST:
        return True
    return total + slowness * part.seconds <= HARD * plan.budget.seconds


def slowness_of(spent: float, expected: float, budget: float) -> float:
    """Return how many times slower than expected the finished parts were, at least 1.

    The ratio of a second or two tells nothing of the machine, so that 1 is returned until parts have finished that were
    expected to take `TELLING` of the budget.

    Args:
        spent, expected: seconds of finished parts; budget: seconds of all.

    >>> slowness_of(30.0, 10.0, 100.0), slowness_of(9.0, 3.0, 100.0), slowness_of(8.0, 10.0, 100.0)
    (3.0, 1.0, 1.0)
    """
    return max(1.0, spent / expected) if expected > TELLING * budget else 1.0


def _shortened(plan: Plan, left: float, reached: Mapping[str, Part]) -> list[Part]:
    """Return the parts, those that decide with fewer iterations if they do not fit into `left` seconds otherwise.

    reached: parts whose effort the same attack keeps, by its name; the others share the rest of the time.
    """
    parts = [_as_reached(part, reached) for part in plan.parts]
    deciding = [part for part in parts if part.attacker.decides and not part.reason]
    if sum(part.seconds for part in deciding) <= left:
        return parts
    parts = [
        part.as_published() if part.attacker.decides and _may_be_shortened(part, reached) else part
        for part in parts
    ]
    deciding = [part for part in parts if part.attacker.decides and not part.reason]
    # One that cannot be shortened and does not fit either is left out in its turn; others give nothing up for it.
    deciding = [part for part in deciding if part.shortens or part.seconds <= HARD * left]
    fixed = sum(part.seconds for part in deciding if not _may_be_shortened(part, reached))
    free = sum(part.seconds for part in deciding if _may_be_shortened(part, reached))
    share = min(1.0, max(0.0, (left - fixed) / free)) if free else 1.0
    least = plan.budget.least_iterations
    return [
        part.with_iterations(_share(part.attacker.attack.iterations, share, least))
        if part.attacker.decides and _may_be_shortened(part, reached)
        else part
        for part in parts
    ]


def _as_reached(part: Part, reached: Mapping[str, Part]) -> Part:
    """Return a part that decides with the effort that its attack had where it ran first, no more than planned."""
    attack = part.attacker.attack
    first = reached.get(attack.name)
    if first is None or not (part.attacker.decides and part.shortens):
        return part
    part = part if first.chosen else part.as_published()
    return part.with_iterations(min(first.attacker.attack.iterations, attack.iterations))


def _may_be_shortened(part: Part, reached: Mapping[str, Part]) -> bool:
    """Return whether a part may be shortened: an attack that has run before keeps its effort."""
    return part.shortens and part.attacker.attack.name not in reached


def _share(iterations: int, share: float, least: int) -> int:
    """Return a share of iterations: no fewer than `least`, and no more than there were.

    >>> _share(300, 0.5, 60), _share(300, 0.1, 60), _share(40, 0.5, 60)
    (150, 60, 40)
    """
    return min(iterations, max(least, int(share * iterations)))
