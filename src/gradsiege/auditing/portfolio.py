"""The attackers of an audit: blind, informed, and those that need no update beyond its label; the same for every defense.

In the manner of AutoAttack (Croce and Hein, ICML 2020): a fixed ensemble without anything to tune, whose worst case is the number
to quote.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from gradsiege import catalogue
from gradsiege.attacks.base import Attack
from gradsiege.attacks.counters import OF_SEVERAL_ROUNDS
from gradsiege.attacks.recipes.auxiliary_lookup import AuxiliaryLookup
from gradsiege.attacks.recipes.deep_image_prior import DeepImagePrior
from gradsiege.attacks.recipes.gradinversion import Gradinversion
from gradsiege.attacks.recipes.identification import Identification
from gradsiege.attacks.recipes.inverting_gradients import InvertingGradients
from gradsiege.attacks.recipes.label_lookup import LabelLookup
from gradsiege.attacks.recipes.learned_inversion import LearnedInversion
from gradsiege.attacks.recipes.maximum_a_posteriori import MaximumAPosteriori
from gradsiege.attacks.recipes.modern_inverting_gradients import ModernInvertingGradients
from gradsiege.auditing.situations import NONE, Situation
from gradsiege.protocol.threat_model import ThreatModel

BLIND = ThreatModel(id="blind")
INFORMED = ThreatModel(id="informed", disclosure=True)
# The attacker holds a gallery in which the private pictures are hidden.
SEEKING = ThreatModel(id="seeking", candidates=True)
SEEKING_INFORMED = ThreatModel(id="seeking_informed", disclosure=True, candidates=True)
AWARE = {INFORMED.id, SEEKING_INFORMED.id}
GENERIC = "generic."
MODE = MaximumAPosteriori.name
# The mode of a posterior has one start, and 300 iterations of the attack's own step reach it.
MOST_OF_MODE, ENOUGH = 600, 300
LONGEST_STEP = 0.2
# Counters against which a prior in nats can be weighed: their distance is the negative logarithm of a probability, or they match what no
# defense would have sent.
WEIGHABLE = ("likelihood", "exact")
# Turns: guesses; matches by an attacker that knows the defense (or that there is none), with a prior, without one, in general, and among
# candidates; matches by one that does not know it; attackers of larger budgets. Those with a prior are the strongest in the kept
# study `fashion`, and cheap: run late, they were cut down, so that nothing was shown of a defense.
FIRST, PRIOR, MATCHES, GENERAL, SEEKS, BLINDLY, LAST = range(7)
DECIDES = SEEKS
# Coordinates that a counter's distance compares, over all pairs of a candidate with one of its labels and an update: minutes of a core.
# Beyond that, candidates bear the inferred label alone.
MOST_COMPARED = 2e10
# Values of a picture up to which its covariance is a matrix that fits: 32 px in colour, 64 px in grey.
MOST_VALUES = 4096


@dataclass(frozen=True, eq=False)
class Attacker:
    """One attack under one threat model.

    Attributes:
        attack: with its budget.
        threat: what the attacker knows.
        rank: 0 to 3; a budget runs attackers up to its own rank.
        turn: when it runs, `FIRST` to `LAST`. Up to `DECIDES` an attacker can decide the worst case or the verdict: when time runs
            short it gets fewer iterations, and it is left out after all others.
    """

    attack: Attack
    threat: ThreatModel
    rank: int
    turn: int

    @property
    def decides(self) -> bool:
        """Whether a number without this attacker understates the worst case."""
        return self.turn <= DECIDES

    @property
    def id(self) -> str:
        """Name of the attack, with its counter."""
        counter = f"+{self.attack.counter}" if self.attack.counter else ""
        return f"{self.attack.name}{counter}"

    @property
    def seeks(self) -> bool:
        """Whether the attacker chooses among candidates with the private picture in them."""
        return self.threat.candidates


@dataclass(frozen=True)
class Effort:
    """What attacks may spend, and on what.

    Attributes:
        iterations, restarts: of an optimising attack.
        pictures: private pictures; classes: of the network; gallery: pictures among which they are sought, 0 without any.
        values: numbers in a picture; coordinates: numbers in an update; added: those of them that the defense adds to the network.
        labels: whether attackers infer them; those of a network without a linear head cannot, and are given them.
    """

    iterations: int
    restarts: int
    pictures: int
    classes: int
    gallery: int
    values: int
    coordinates: int = 0
    added: int = 0
    labels: Literal["given", "inferred"] = "inferred"

    def spent_on(self, attack: Attack) -> Attack:
        """Return an attack with the iterations and restarts of the effort."""
        return replace(attack, iterations=self.iterations, restarts=self.restarts)


def rate_of(iterations: int) -> float:
    """Return the learning rate of a search for the mode: longer steps where there are fewer iterations than reach it.

    >>> rate_of(300), rate_of(150), rate_of(10)
    (0.05, 0.1, 0.2)
    """
    rate = MaximumAPosteriori().learning_rate * max(1.0, ENOUGH / iterations)
    return min(LONGEST_STEP, rate)


def portfolio(situation: Situation, effort: Effort) -> list[Attacker]:
    """Return the attackers of a situation, the most important first.

    Those that cannot run there, such as a lookup on clients of several pictures, are left out by `why_not`.
    """
    listed = list(_blind(effort, situation.name == NONE))
    for counter in counters_to(situation):
        listed += _informed(counter, effort)
    listed = [replace(one, threat=replace(one.threat, labels=effort.labels)) for one in listed]
    return sorted(listed, key=lambda attacker: attacker.turn)


def _blind(effort: Effort, undefended: bool) -> Iterator[Attacker]:
    """Yield attackers who do not know the defense. Without a defense they are the strongest, and decide."""
    turns = (MATCHES, PRIOR, SEEKS) if undefended else (BLINDLY, BLINDLY, BLINDLY)
    mode = MaximumAPosteriori(iterations=min(MOST_OF_MODE, effort.iterations))
    yield Attacker(LabelLookup(), BLIND, 0, FIRST)
    yield Attacker(AuxiliaryLookup(), BLIND, 0, FIRST)
    yield Attacker(effort.spent_on(InvertingGradients()), BLIND, 0, turns[0])
    yield Attacker(mode, BLIND, 1, turns[1])
    yield Attacker(_identification(effort), SEEKING, 0, turns[2])
    yield Attacker(effort.spent_on(ModernInvertingGradients()), BLIND, 2, LAST)
    yield Attacker(effort.spent_on(Gradinversion()), BLIND, 3, LAST)
    yield Attacker(DeepImagePrior(iterations=effort.iterations), BLIND, 3, LAST)


def _informed(counter: str, effort: Effort) -> Iterator[Attacker]:
    generic = counter.startswith(GENERIC)
    likely = generic or counter.endswith(WEIGHABLE)
    mode = MaximumAPosteriori(iterations=min(MOST_OF_MODE, effort.iterations), counter=counter)
    matching = effort.spent_on(InvertingGradients(counter=counter))
    every = effort.gallery * effort.classes * effort.pictures * effort.coordinates
    labels = "inferred" if every > MOST_COMPARED else _identification(effort).labels
    seeking = Identification(labels=labels, counter=counter)
    modern = effort.spent_on(ModernInvertingGradients(counter=counter))
    yield Attacker(matching, INFORMED, 1, GENERAL if generic else MATCHES)
    yield Attacker(mode, INFORMED, 1 if likely else 2, PRIOR if likely else LAST)
    yield Attacker(seeking, SEEKING_INFORMED, 1, SEEKS)
    yield Attacker(modern, INFORMED, 2, LAST)
    if generic:
        yield Attacker(LearnedInversion(), INFORMED, 3, LAST)


def _identification(effort: Effort) -> Identification:
    # Every label of every candidate is tried where that costs no more than an optimising attack.
    every = effort.gallery * effort.classes <= effort.iterations * effort.pictures
    return Identification(labels="every" if every else "inferred")


def counters_to(situation: Situation) -> list[str]:
    """Return the counters that answer the defense of a situation in one round; none without a defense.

    Those written for the defense come first: the generic ones simulate clients, and take longer.
    """
    if situation.name == NONE or situation.defense is None:
        return []
    names = [
        name
        for name in catalogue.entries("counters")
        if catalogue.answers(name, situation.defense.name) and name not in OF_SEVERAL_ROUNDS
    ]
    return sorted(names, key=lambda name: name.startswith(GENERIC))


def why_not(attacker: Attacker, situation: Situation, effort: Effort, rank: int) -> str:
    """Return why an attacker does not run in a situation under a budget of a rank; empty if it does."""
    attack, pictures = attacker.attack, situation.training.images
    if attacker.seeks and not effort.gallery:
        return "there is no gallery of candidates"
    if attacker.rank > rank:
        return "left to a larger budget"
    if isinstance(attack, AuxiliaryLookup | Identification) and pictures > 1:
        return f"compares one picture with an update, and a client holds {pictures}"
    if isinstance(attack, MaximumAPosteriori) and effort.values > MOST_VALUES:
        return f"its prior needs a covariance of {effort.values} values per picture, more than {MOST_VALUES}"
    return ""
