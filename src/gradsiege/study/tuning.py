"""Which cells of a study choose settings, from what, and on how many images."""

from __future__ import annotations

from typing import Any

from gradsiege import catalogue, ranges
from gradsiege.study.document import Study
from gradsiege.study.sections import Attack


def tunable(attack: Attack) -> list[str]:
    """Return the parameters that declare a range to choose from and that the study file leaves out; call it before defaults are filled in."""
    parameters = catalogue.entries("attacks")[attack.name].parameters
    return [
        name
        for name, (kind, _) in parameters.items()
        if ranges.tuned(kind) and name not in attack.parameters
    ]


def is_tuned(study: Study, attack: str, threat_model: str) -> bool:
    """Return whether an attack chooses settings: it has some, and an attacker who knows protocol and images can simulate clients."""
    if study.tuning is None:
        return False
    threat = study.one("threat_models", threat_model)
    return bool(study.one("attacks", attack).tuned) and threat.auxiliary and threat.protocol


def settings_of(study: Study, attack: str) -> dict[str, Any]:
    """Return all that decides the trials of an attack, for the settings of its cells."""
    assert study.tuning is not None
    item = study.one("attacks", attack)
    parameters = catalogue.entries("attacks")[item.name].parameters
    ends = {name: ranges.tuned(parameters[name][0]) for name in item.tuned}
    spelled = {name: [rule.low, rule.high] for name, rule in ends.items() if rule}
    return {**study.tuning.model_dump(), "ranges": spelled}


def images_set_aside(study: Study) -> int:
    """Return how many auxiliary images are kept from all priors, for the simulated clients: none without `tuning`."""
    if study.tuning is None:
        return 0
    return study.tuning.clients * max(protocol.images for protocol in study.protocols)
