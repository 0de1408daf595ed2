"""The plan of an audit: which attacks run where, with what effort, and how long that will take on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
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
TRIAL_PICTURES, TRIALS = 4, (1, 5)
# Seconds of a trial after which one with more pictures would cost more than it tells.
SLOW = 12.0
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
        trials: settings that are tried for every attack.
        pace: measured seconds per picture and iteration.
        notes: what was cut down, in sentences.
    """

    pictures: int
    iterations: int
    trials: int
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


def measured_pace(
    source: Source, situation: Situation, budget: Budget, device: str = AUTO
) -> float:
    """Return the seconds that one iteration of an optimising attack takes per picture, from a short trial.

    Small networks are faster per picture when there are many, so that a fast trial is repeated with all pictures of the budget.
    """
    most = min(budget.pictures, source.count, most_pictures(source, situation))
    pace, seconds = _timed(source, situation, min(TRIAL_PICTURES, most), device)
    if seconds < SLOW and most > TRIAL_PICTURES:
        pace, _ = _timed(source, situation, most, device)
    return pace


def _timed(source: Source, situation: Situation, pictures: int, device: str) -> tuple[float, float]:
    """Return seconds per picture and iteration, and those of the trial."""
    clients = source.clients(situation, pictures)
    seen = source.observed(situation, clients)
    done = clients * situation.training.images * situation.cost
    short, long = (
        InvertingGradients(iterations=iterations)(seen, device=device).seconds
        for iterations in TRIALS
    )
    # The first call also loads what every later one finds loaded, so that it may take longer.
    pace = (long - short) / (TRIALS[1] - TRIALS[0]) if long > short else long / TRIALS[1]
    return max(1e-6, pace / done), short + long


def most_pictures(source: Source, situation: Situation) -> int:
    """Return the number of pictures whose updates fit into memory; at least one client's."""
    clients = max(1, MOST_UPDATE_BYTES // update_bytes(source.networks[situation.stage]))
    return clients * situation.training.images


def sized(
    source: Source,
    listed: Sequence[Situation],
    budget: Budget,
    pace: float,
    auxiliary: bool = True,
) -> Size:
    """Return the effort that fits into the budget's time.

    What does not fit is cut down in turn: iterations to a third, pictures to a half, the choice of settings, then pictures and
    iterations to the least that the budget allows.
    """
    wanted = min(budget.pictures, source.count)
    fits = min(wanted, *(most_pictures(source, situation) for situation in listed))
    third = min(budget.iterations, max(budget.least_iterations, budget.iterations // 3))
    few = min(fits, budget.least_pictures)
    half = max(few, fits // 2)
    least = min(third, budget.least_iterations)
    efforts = [
        (fits, budget.iterations, budget.trials),
        (fits, third, budget.trials),
        (half, third, budget.trials),
        (half, third, 1),
        (few, third, 1),
        (few, least, 1),
    ]

    def size(effort: tuple[int, int, int]) -> Size:
        pictures, iterations, trials = effort
        notes = []
        if fits < wanted:
            notes.append(
                f"{counted(fits, 'picture')} instead of {wanted}, since more updates of this network do not fit into memory"
            )
        kept = f"to keep within {lasting(budget.seconds)}"
        if pictures < fits:
            notes.append(f"{counted(pictures, 'picture')} instead of {fits}, {kept}")
        if iterations < budget.iterations:
            notes.append(
                f"{counted(iterations, 'iteration')} instead of {budget.iterations}, {kept}"
            )
        if trials < budget.trials:
            notes.append(f"no choice of settings, {kept}")
        return Size(pictures, iterations, trials, pace, tuple(notes))

    def seconds(effort: tuple[int, int, int]) -> float:
        return laid_out(source, listed, budget, size(effort), auxiliary).seconds

    for more, less in pairwise(efforts):
        for share in (1.0, 0.8, 0.6, 0.4, 0.2):
            effort = _between(more, less, share)
            if seconds(effort) <= budget.seconds:
                return size(effort)
    return size(efforts[-1])


def _between(
    more: tuple[int, int, int], less: tuple[int, int, int], share: float
) -> tuple[int, int, int]:
    """Return an effort on the way from one to another, `share` 1 for the first."""
    pictures, iterations, trials = (
        low + round(share * (high - low)) for high, low in zip(more, less, strict=True)
    )
    return pictures, iterations, trials


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


def effort_of(
    source: Source, situation: Situation, budget: Budget, size: Size, auxiliary: bool
) -> Effort:
    """Return what the attacks of a plan may spend."""
    others = min(budget.distractors, source.count - size.pictures)
    gallery = size.pictures + max(
        others, 0 if others >= LEAST_OTHERS else min(budget.distractors, EXTRA)
    )
    values = prod(source.image_shape)
    return Effort(
        size.iterations,
        budget.restarts,
        size.pictures,
        source.classes,
        gallery,
        values,
        auxiliary,
        "inferred" if source.tells_labels(situation.stage) else "given",
    )


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
