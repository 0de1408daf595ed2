"""What an attacker who knows the defense does about it: one file a defense, one function an idea.

An idea maps an `AttackPlan` to another one before the attack runs: it changes the update that is matched, how two updates are
compared, the regularizers or the space, or says what is done to the images found. Recipes and engines know nothing of it, so every idea works with every attack that
matches updates. What it knows of the defense is the disclosure, which a threat model must grant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradsiege import catalogue

if TYPE_CHECKING:
    from gradsiege.attacks.counters.plan import AttackPlan


def apply(name: str, plan: AttackPlan) -> AttackPlan:
    """Return what an informed attacker does instead of a recipe as it is.

    Labels that are not granted are inferred from the update as it was received; an idea that knows better replaces them.

    Args:
        name: ``<defense>.<idea>``, as `gradsiege list counters` prints it.

    Raises:
        ThreatModelError: the disclosure is not granted, or it names another defense.
    """
    from gradsiege.errors import ThreatModelError
    from gradsiege.protocol.threat_model import require

    defense, _, idea = name.partition(".")
    entry = catalogue.lookup("counters", name, "the counter")
    require(plan.knowledge.threat, entry.requires, name)
    disclosed = plan.disclosure.get("defense")
    if disclosed != defense:
        raise ThreatModelError(
            f"{name} is an answer to {defense}, but the disclosed defense is {disclosed}. "
            "Attack a defense that it fits, or choose another counter: gradsiege list counters"
        )
    informed: AttackPlan = getattr(catalogue.module_of(entry), idea)(plan.with_labels())
    return informed
