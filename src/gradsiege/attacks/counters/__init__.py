"""Adaptive attacks: the changes that an attacker who knows the defense makes; one file per defense, one function per idea.

An idea maps an `AttackPlan` to another one before the attack runs: it changes the update that is matched, how two updates are
compared, the regularizers or the space, or says what is done to the images found. Recipes and engines know nothing of it, so every idea works with every attack that
matches updates. An idea knows the defense by its disclosure, which a threat model must grant. `generic` ones answer any defense: they run
it on images of the attacker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradsiege import catalogue

if TYPE_CHECKING:
    from gradsiege.attacks.counters.plan import AttackPlan

# Counters that put the uploads of several rounds together; of one round they can only fail.
OF_SEVERAL_ROUNDS = ("censor.null_space", "shadow.two_round_extrapolation")


def apply(name: str, plan: AttackPlan) -> AttackPlan:
    """Return the plan of an informed attacker instead of the plain one.

    Labels that are not granted are inferred from the received update, unless the idea has a better rule.

    Args:
        name: ``<defense>.<idea>`` or ``generic.<idea>``, as `gradsiege list counters` prints it.

    Raises:
        ThreatModelError: the disclosure is not granted, or it names another defense.
        MissingError: the counter simulates clients, and the plan has no `simulate`.
    """
    from gradsiege.errors import ThreatModelError
    from gradsiege.protocol.threat_model import require

    defense, _, idea = name.partition(".")
    entry = catalogue.lookup("counters", name, "the counter")
    require(plan.knowledge.threat, entry.requires, name)
    disclosed = plan.disclosure.get("defense")
    if not catalogue.answers(name, disclosed):
        raise ThreatModelError(
            f"{name} is an answer to {defense}, but the disclosed defense is {disclosed}. "
            "Attack a defense that it fits, or choose another counter: gradsiege list counters"
        )
    informed: AttackPlan = getattr(catalogue.module_of(entry), idea)(plan.with_labels())
    return informed
