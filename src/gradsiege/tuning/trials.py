"""Trials of an attack's settings: the attack as it is, then points that fill the ranges declared beside its fields evenly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, get_type_hints

from gradsiege.attacks.base import Attack
from gradsiege.errors import UsageError, nearest
from gradsiege.ranges import Tuned, tuned

Settings = dict[str, Any]
# Three digits of a narrow range hold no more points than some hundreds.
MOST = 64


def tuned_fields(attack: Attack, among: Sequence[str] | None = None) -> dict[str, Tuned]:
    """Return the ends between which settings of an attack are chosen, by field.

    These are the fields that declare a range (`gradsiege.ranges.Tuned`), `among` those that are named. By default, they are
    those that stand at their default: what was set to another value stays so, and with it a term that was switched off.

    >>> from gradsiege.attacks.recipes.inverting_gradients import InvertingGradients
    >>> list(tuned_fields(InvertingGradients())), list(tuned_fields(InvertingGradients(total_variation=0.0)))
    (['total_variation', 'learning_rate'], ['learning_rate'])

    Raises:
        UsageError: `among` is a single text, or names a field that is not there or declares no range.
    """
    kinds = get_type_hints(type(attack), include_extras=True)
    _refuse_unknown(attack, among, [name for name, kind in kinds.items() if tuned(kind)])
    ends = {
        field.name: tuned(kinds[field.name])
        for field in fields(attack)
        if (getattr(attack, field.name) == field.default if among is None else field.name in among)
    }
    return {name: rule for name, rule in ends.items() if rule is not None}


def _refuse_unknown(attack: Attack, among: Sequence[str] | None, known: list[str]) -> None:
    """Refuse names that choose nothing: the attack would come back as it was given."""
    if isinstance(among, str):
        raise UsageError(f"fields is {among!r}; give a list of names, such as [{among!r}]")
    for name in among or ():
        if name not in known:
            kind = (
                "declares no range"
                if name in {field.name for field in fields(attack)}
                else "is unknown"
            )
            raise UsageError(
                f"fields: the field {name!r} of {attack.name} {kind}, so that nothing is chosen; {nearest(str(name), known)}"
            )


def trials_of(attack: Attack, count: int, among: Sequence[str] | None = None) -> list[Settings]:
    """Return the settings of so many trials, the same ones on every call; a single empty one if there is nothing to choose.

    The first trial is the attack as it is. The others are the points of Halton (Numerische Mathematik 2, 1960): of any number of
    them each range is covered evenly, and so are all ranges together. `among` as in `tuned_fields`.

    >>> from gradsiege.attacks.recipes.inverting_gradients import InvertingGradients
    >>> for settings in trials_of(InvertingGradients(), 3): print(settings)
    {'total_variation': 1e-06, 'learning_rate': 0.1}
    {'total_variation': 0.00316, 'learning_rate': 0.108}
    {'total_variation': 0.000562, 'learning_rate': 0.232}

    Raises:
        ValueError: fewer than one trial, or more than 64.
        UsageError: as for `tuned_fields`.
    """
    if not 1 <= count <= MOST:
        raise ValueError(f"trials must be from 1 to {MOST}, not {count}")
    ends = tuned_fields(attack, among)
    trials = [{name: getattr(attack, name) for name in ends}]
    number = 0
    while ends and len(trials) < count:
        number += 1
        point = {
            name: rule.at(radical_inverse(number, _prime(axis)))
            for axis, (name, rule) in enumerate(ends.items())
        }
        if point not in trials:
            trials.append(point)
    return trials


def radical_inverse(number: int, base: int) -> float:
    """Return the digits of a whole number mirrored at the point, in [0, 1).

    >>> [radical_inverse(number, 2) for number in range(5)]
    [0.0, 0.5, 0.25, 0.75, 0.125]
    """
    share, place = 0.0, 1.0
    while number:
        number, digit = divmod(number, base)
        place /= base
        share += digit * place
    return share


def _prime(place: int) -> int:
    """Return the prime of that place, from 2 at 0 on."""
    primes: list[int] = []
    number = 2
    while len(primes) <= place:
        if all(number % prime for prime in primes):
            primes.append(number)
        number += 1
    return primes[-1]
