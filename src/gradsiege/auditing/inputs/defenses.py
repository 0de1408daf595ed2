"""The defenses that a user names: of the catalogue, of a plug-in, or a class or object of the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradsiege import catalogue
from gradsiege.auditing.inputs.named import imported, of_catalogue, parameters
from gradsiege.errors import MissingError, UsageError, nearest

if TYPE_CHECKING:
    from gradsiege.defenses.base import Defense

OPTION = "--defense"


def defense_named(spec: str) -> Defense:
    """Return the defense of ``gaussian``, ``gaussian:sigma=0.1`` or ``package.module:Class``.

    >>> defense_named("gaussian:sigma=0.5").disclosure()
    {'defense': 'gaussian', 'sigma': 0.5}

    Raises:
        UsageError: an unknown name, or something that is not a defense.
        StudyError: a parameter that the defense does not have, or a value outside its range.
        MissingError: the defense needs a network of its own that is trained beforehand.
    """
    from gradsiege import defenses
    from gradsiege.defenses.base import Defense

    name, _, rest = spec.partition(":")
    if of_catalogue("defenses", spec):
        entry = catalogue.lookup("defenses", name, OPTION)
        if "shadow" in entry.requires:
            raise MissingError(
                f"{OPTION} {name}: it needs a generator that the defender trains beforehand; audit it in Python, or by a study"
            )
        given = parameters(rest, f"{OPTION} {spec}")
        arm = str(given.pop("arm", "faithful"))
        if arm not in entry.arms:
            raise UsageError(
                f"{OPTION} {spec}: {name} has no arm {arm!r}; {nearest(arm, entry.arms)}"
            )
        return defenses.build(name, entry.validate(given, OPTION), arm)
    known = list(catalogue.entries("defenses"))
    if ":" not in spec:
        raise UsageError(
            f"{OPTION} {spec}: {nearest(spec, known)}; a class of your own is package.module:Class"
        )
    defense = imported(spec, OPTION, known)
    if not isinstance(defense, Defense):
        raise UsageError(
            f"{OPTION} {spec} is {type(defense).__name__}; derive it from gradsiege.defenses.base.Defense"
        )
    return defense
