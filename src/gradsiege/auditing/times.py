"""The effort of the attacks of an audit, and the time that each is expected to take."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from gradsiege.attacks.base import Learned
from gradsiege.attacks.lookup.base import Lookup
from gradsiege.attacks.recipes.identification import Identification
from gradsiege.attacks.recipes.label_lookup import LabelLookup
from gradsiege.attacks.recipes.learned_inversion import LearnedInversion
from gradsiege.auditing.budget import Budget
from gradsiege.auditing.portfolio import GENERIC, Attacker, Effort
from gradsiege.auditing.situations import Situation
from gradsiege.auditing.source import Source, update_bytes
from gradsiege.tuning.trials import tuned_fields

# Seconds of an attack beside its iterations: its start, and the measurement of its pictures.
OVERHEAD = 1.0
# An update without its second derivative, as lookups and simulated clients compute it, in units of an iteration.
SINGLE = 0.4
# Seconds per coordinate in which a candidate's update and a received one are compared by a counter's distance, on one core.
COMPARED = 1e-8
# Seconds that an iteration takes longer per coordinate: that a defense adds to the network, and of every one that a counter weighs.
ADDED, WEIGHED = 3e-9, 8e-9
CLIENTS = 30
# A gallery with fewer pictures of the user beside the private ones is filled up from the attacker's own.
LEAST_OTHERS, EXTRA = 16, 96


@dataclass(frozen=True)
class Size:
    """The settled part of a plan, which an interruption does not change.

    Attributes:
        pictures: private pictures per situation.
        iterations: of an optimising attack.
        trials: settings that are tried for every attack.
        restarts: of an optimising attack.
        pace: measured seconds per picture and iteration.
        threads: of the processor that this pace belongs to.
        notes: what was cut down, in sentences.
        plain: whether every iteration counts as one without a defense.
    """

    pictures: int
    iterations: int
    trials: int
    restarts: int
    pace: float
    threads: int = 1
    notes: tuple[str, ...] = ()
    plain: bool = False


def effort_of(source: Source, situation: Situation, budget: Budget, size: Size) -> Effort:
    """Return what the attacks of a plan may spend."""
    others = min(budget.distractors, source.count - size.pictures)
    gallery = size.pictures + max(
        others, 0 if others >= LEAST_OTHERS else min(budget.distractors, EXTRA)
    )
    values = prod(source.image_shape)
    coordinates = update_bytes(source.network_of(situation)) // 4
    return Effort(
        size.iterations,
        size.restarts,
        size.pictures,
        source.classes,
        gallery if source.has_pictures else 0,
        values,
        coordinates,
        coordinates - update_bytes(source.networks[situation.stage]) // 4,
        "inferred" if source.tells_labels(situation.stage) else "given",
    )


def pace_of(attacker: Attacker, situation: Situation, effort: Effort, size: Size) -> float:
    """Return the expected seconds of an iteration on one picture.

    The measured pace is that of the network without a defense, matched by the cosine. Attacks on a defense are shortened for the time that
    it and its counter cost beside that (`plan.within`); the number of pictures does not fall for it (`Size.plain`).
    """
    if size.plain:
        return situation.cost * size.pace
    generic = (attacker.attack.counter or "").startswith(GENERIC)
    further = ADDED * effort.added + WEIGHED * generic * effort.coordinates
    return situation.cost * size.pace + further / situation.training.images


def seconds_of(attacker: Attacker, situation: Situation, effort: Effort, size: Size) -> float:
    """Return the expected time of an attack on all clients of a situation."""
    attack, steps = attacker.attack, pace_of(attacker, situation, effort, size)
    counter = attack.counter or ""
    simulated = CLIENTS * situation.training.images * SINGLE if counter.startswith(GENERIC) else 0.0
    overhead = OVERHEAD
    if isinstance(attack, Learned):
        made = attack.updates if isinstance(attack, LearnedInversion) else CLIENTS
        return OVERHEAD + (made * SINGLE + attack.iterations) * situation.training.images * steps
    if isinstance(attack, Identification):
        every = attack.labels == "every"
        labels = effort.classes if every else min(effort.classes, size.pictures)
        evaluated = effort.gallery * labels * SINGLE
        if counter:
            # The cosine of all pairs is a single product of matrices; other distances go through every pair of one label.
            pairs = effort.gallery * size.pictures * (effort.classes if every else 1)
            compared = effort.coordinates - (effort.added if size.plain else 0)
            overhead += COMPARED * pairs * compared
    elif isinstance(attack, LabelLookup):
        evaluated = 0.0
    elif isinstance(attack, Lookup):
        evaluated = 300 * SINGLE
    else:
        evaluated = size.pictures * attack.iterations * attack.restarts
    return overhead + (evaluated + simulated) * steps


def tunes(attacker: Attacker) -> bool:
    """Return whether an attacker has settings to choose."""
    return not attacker.seeks and bool(tuned_fields(attacker.attack))


def tuning_seconds(
    attacker: Attacker,
    situation: Situation,
    effort: Effort,
    budget: Budget,
    size: Size,
    spare: int,
) -> float:
    """Return the expected time of the choice of an attack's settings on `spare` pictures; 0 where none are chosen."""
    images = situation.training.images
    clients = budget.clients_to_choose_on(spare, images)
    if not clients or not tunes(attacker):
        return 0.0
    pictures = budget.trials * clients * images
    spent = attacker.attack.iterations * attacker.attack.restarts
    return budget.trials + pictures * spent * pace_of(attacker, situation, effort, size)
