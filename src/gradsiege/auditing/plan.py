"""The plan of an audit: which attacks run where, with what effort, and how long that will take on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

from gradsiege.attacks.base import Learned
from gradsiege.attacks.device import AUTO
from gradsiege.attacks.lookup.base import Lookup
from gradsiege.attacks.recipes.identification import Identification
from gradsiege.attacks.recipes.inverting_gradients import InvertingGradients
from gradsiege.attacks.recipes.label_lookup import LabelLookup
from gradsiege.attacks.recipes.learned_inversion import LearnedInversion
from gradsiege.auditing.budget import Budget
from gradsiege.auditing.portfolio import GENERIC, Attacker, Effort, portfolio, why_not
from gradsiege.auditing.situations import Situation
from gradsiege.auditing.source import Source, update_bytes
from gradsiege.auditing.words import attacker_in_words, counted, lasting
from gradsiege.tuning.trials import tuned_fields

# Bytes that the updates of all clients may take; several copies exist during an attack.
MOST_UPDATE_BYTES = 2**30
# Pictures of the trial that is timed, and iterations of its two runs, whose difference leaves out what is done once.
TRIAL_PICTURES, TRIALS = 8, (2, 10)
# Seconds of the first run after which a second one would tell nothing more.
SLOW = 4.0
# Seconds of an attack beside its iterations: its start, and the measurement of its pictures.
OVERHEAD = 1.0
# An update without its second derivative, as lookups and simulated clients compute it, in units of an iteration.
SINGLE = 0.4
CLIENTS = 30
# A gallery with fewer pictures of the user beside the private ones is filled up from the attacker's own.
LEAST_OTHERS, EXTRA = 16, 96
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


@dataclass(frozen=True)
class Size:
    """What a plan settles once and keeps over an interruption.

    Attributes:
        pictures: private pictures per situation.
        iterations: of an optimising attack.
        pace: measured seconds per picture and iteration.
        notes: what was cut down, in sentences.
    """

    pictures: int
    iterations: int
    pace: float
    notes: tuple[str, ...] = ()


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


def measured_pace(subject: Source, situation: Situation, device: str = AUTO) -> float:
    """Return the seconds that one iteration of an optimising attack takes per picture, from a short trial."""
    pictures = min(TRIAL_PICTURES, most_pictures(subject, situation))
    clients = subject.clients(situation, pictures)
    seen = subject.observed(situation, clients)
    done = clients * situation.training.images * situation.cost

    def seconds(iterations: int) -> float:
        return InvertingGradients(iterations=iterations)(seen, device=device).seconds

    # The first call loads what every later one finds loaded.
    seconds(1)
    short = seconds(TRIALS[0])
    if short > SLOW:
        return short / TRIALS[0] / done
    return max(1e-6, (seconds(TRIALS[1]) - short) / (TRIALS[1] - TRIALS[0]) / done)


def most_pictures(subject: Source, situation: Situation) -> int:
    """Return the number of pictures whose updates fit into memory; at least one client's."""
    clients = max(1, MOST_UPDATE_BYTES // update_bytes(subject.networks[situation.stage]))
    return clients * situation.training.images


def sized(
    subject: Source,
    listed: Sequence[Situation],
    budget: Budget,
    pace: float,
    auxiliary: bool = True,
) -> Size:
    """Return pictures and iterations that fit into the budget's time: first fewer iterations, then fewer pictures."""
    notes = []
    pictures = min(budget.pictures, subject.count)
    fits = min(most_pictures(subject, situation) for situation in listed)
    if fits < pictures:
        notes.append(
            f"{counted(fits, 'picture')} instead of {pictures}, since more updates of this network do not fit into memory"
        )
        pictures = fits

    def seconds(pictures: int, iterations: int) -> float:
        size = Size(pictures, iterations, pace)
        return laid_out(subject, listed, budget, size, auxiliary).seconds

    iterations = budget.iterations
    few = min(pictures, budget.least_pictures)
    steps = (
        (pictures, max(budget.least_iterations, iterations // 3)),
        (few, max(budget.least_iterations, iterations // 3)),
        (few, budget.least_iterations),
    )
    for fewest, least in steps:
        if seconds(pictures, iterations) <= budget.seconds:
            break
        pictures, iterations = _between(
            seconds, (pictures, iterations), (fewest, min(iterations, least)), budget.seconds
        )
    if iterations < budget.iterations:
        notes.append(
            f"{counted(iterations, 'iteration')} instead of {budget.iterations}, to keep within {lasting(budget.seconds)}"
        )
    if pictures < min(budget.pictures, subject.count, fits):
        notes.append(
            f"{counted(pictures, 'picture')} instead of {budget.pictures}, to keep within {lasting(budget.seconds)}"
        )
    return Size(pictures, iterations, pace, tuple(notes))


def _between(
    seconds: Callable[[int, int], float],
    most: tuple[int, int],
    least: tuple[int, int],
    limit: float,
) -> tuple[int, int]:
    """Return the largest effort on the way from `most` to `least` that takes at most `limit` seconds, else `least`."""
    for share in (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0):
        tried = tuple(
            low + round(share * (high - low)) for high, low in zip(most, least, strict=True)
        )
        if seconds(tried[0], tried[1]) <= limit:
            return tried[0], tried[1]
    return least


def laid_out(
    subject: Source, listed: Sequence[Situation], budget: Budget, size: Size, auxiliary: bool = True
) -> Plan:
    """Return the parts of an audit with their expected times, sorted so that the most important come first.

    Parts beyond the time limit of the budget are left out, whole ranks of attackers before single ones.
    """
    parts = []
    for situation in listed:
        effort = effort_of(subject, budget, size, auxiliary)
        for attacker in portfolio(situation, effort):
            reason = why_not(attacker, situation, effort, budget.rank)
            expected = seconds_of(attacker, situation, effort, size)
            expected += tuning_seconds(attacker, situation, budget, size)
            parts.append(Part(situation, attacker, expected, reason))
    return Plan(budget, size, tuple(sorted(parts, key=lambda part: part.attacker.rank)))


def effort_of(subject: Source, budget: Budget, size: Size, auxiliary: bool) -> Effort:
    """Return what the attacks of a plan may spend."""
    others = min(budget.distractors, subject.count - size.pictures)
    gallery = size.pictures + max(
        others, 0 if others >= LEAST_OTHERS else min(budget.distractors, EXTRA)
    )
    values = prod(subject.image_shape)
    return Effort(size.iterations, budget.restarts, subject.classes, gallery, values, auxiliary)


def seconds_of(attacker: Attacker, situation: Situation, effort: Effort, size: Size) -> float:
    """Return the expected time of an attack on all clients of a situation."""
    attack, steps = attacker.attack, situation.cost * size.pace
    counter = attack.counter or ""
    simulated = CLIENTS * situation.training.images * SINGLE if counter.startswith(GENERIC) else 0.0
    if isinstance(attack, Learned):
        made = attack.updates if isinstance(attack, LearnedInversion) else CLIENTS
        return OVERHEAD + (made * SINGLE + attack.iterations) * situation.training.images * steps
    if isinstance(attack, Identification):
        labels = effort.classes if attack.labels == "every" else min(effort.classes, size.pictures)
        evaluated = effort.gallery * labels * SINGLE
    elif isinstance(attack, LabelLookup):
        evaluated = 0.0
    elif isinstance(attack, Lookup):
        evaluated = 300 * SINGLE
    else:
        evaluated = size.pictures * attack.iterations * attack.restarts
    return OVERHEAD + (evaluated + simulated) * steps


def tuning_seconds(attacker: Attacker, situation: Situation, budget: Budget, size: Size) -> float:
    """Return the expected time of the choice of an attack's settings."""
    if attacker.seeks or budget.trials < 2 or not tuned_fields(attacker.attack):
        return 0.0
    pictures = budget.trials * budget.tuning_clients * situation.training.images
    spent = attacker.attack.iterations * attacker.attack.restarts
    return budget.trials + pictures * spent * situation.cost * size.pace


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
