"""What an attacker who knows the defense does about it: one file a defense, one function an idea.

An idea maps an `Attempt` to another one before the attack runs: it changes the update that is matched, how two updates are
compared, the regularizers or the space, or says what is done to the images found. Recipes and engines know nothing of it, so every idea works with every attack that
matches updates. What it knows of the defense is the disclosure, which a threat model must grant.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradsiege.attacks.counters.attempt import Attempt


def apply(name: str, attempt: Attempt) -> Attempt:
    """Return what an informed attacker attempts in the place of a recipe as it is.

    Labels that are not granted are inferred from the update as it was received; an idea that knows better replaces them.

    Args:
        name: ``<defense>.<idea>``, as `gradsiege list counters` prints it.

    Raises:
        ThreatModelError: the disclosure is not granted, or it names another defense.
    """
    from gradsiege.errors import ThreatModelError
    from gradsiege.protocol.threat_model import require

    defense, _, idea = name.partition(".")
    module: Any = importlib.import_module(f"gradsiege.attacks.counters.{defense}")
    require(attempt.knowledge.threat, module.REQUIRES, name)
    disclosed = attempt.disclosure.get("defense")
    if disclosed != defense:
        raise ThreatModelError(
            f"{name} is an answer to {defense}, but the disclosed defense is {disclosed}. "
            "Attack a defense that it fits, or choose another counter: gradsiege list counters"
        )
    informed: Attempt = getattr(module, idea)(attempt.with_labels())
    return informed
