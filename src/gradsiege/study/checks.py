"""Checks across sections: names that the catalogue lacks, unknown ids, sections that contradict each other."""

from __future__ import annotations

from typing import Any

from gradsiege import catalogue
from gradsiege.errors import StudyError, nearest
from gradsiege.study.document import Study
from gradsiege.study.nowhere import check_places
from gradsiege.study.placement import id_of
from gradsiege.study.sections import Attack, Method
from gradsiege.study.selection import LISTS
from gradsiege.study.sizes import check_sizes
from gradsiege.study.tuning import tunable


def resolve(study: Study) -> Study:
    """Fill in every default parameter and refuse unknown names, with the place in the file."""
    sections = ("datasets", "models", "priors", "defenses", "attacks")
    update: dict[str, Any] = {}
    for section in sections:
        resolved = []
        for item in getattr(study, section):
            place = f"{section}.{item.id}"
            entry = catalogue.lookup(section, item.name, place)
            if isinstance(item, Method) and item.arm not in entry.arms:
                arms = ", ".join(entry.arms)
                raise StudyError(f"{place}: {item.name} has no arm {item.arm!r}, only {arms}")
            if isinstance(item, Attack) and item.counter:
                catalogue.lookup("counters", item.counter, place)
            parameters = entry.validate(item.parameters, place)
            filled: dict[str, Any] = {"parameters": parameters}
            if isinstance(item, Attack) and study.tuning:
                filled["tuned"] = tunable(item)
            resolved.append(item.model_copy(update=filled))
        update[section] = resolved
    for figure in study.figures:
        catalogue.lookup("figures", figure, "figures")
    return study.model_copy(update=update)


def _check_ids(study: Study) -> None:
    """Refuse an id that occurs twice."""
    lists = {**LISTS, "prior": "priors", "figure": "figures"}
    for field, section in lists.items():
        known = [id_of(item) for item in getattr(study, section)]
        for identifier in known:
            if known.count(identifier) > 1:
                raise StudyError(
                    f"{field}s: {identifier!r} stands twice; leave one out or give it another id"
                )
        folded: dict[str, Any] = {}
        for identifier in known:
            other = folded.setdefault(str(identifier).casefold(), identifier)
            if other != identifier:
                raise StudyError(
                    f"{field}s: {other!r} and {identifier!r} differ in case alone and would share a folder on some file "
                    "systems; give one another id"
                )


def _check_unused(study: Study) -> None:
    """Refuse keys that an attack has no use for, such as those about matching updates in one that matches none."""
    for attack in study.attacks:
        for key in catalogue.entries("attacks")[attack.name].unused:
            field = Attack.model_fields[key]
            # `iterations` stands in every entry.
            least = 1 if field.is_required() else field.default
            if getattr(attack, key) != least:
                remedy = f"write {key}: {least}" if field.is_required() else "leave it out"
                raise StudyError(
                    f"attacks.{attack.id}: in {attack.name} {key!r} would change nothing; {remedy}"
                )


def _check_gains(study: Study) -> None:
    """Refuse a gain of an attack over itself, or of one that the study does not have."""
    known = [attack.id for attack in study.attacks]
    for gain in study.gains:
        for identifier in (gain.attack, gain.against):
            if identifier not in known:
                raise StudyError(
                    f"gains: no attack {identifier!r} in the study; {nearest(identifier, known)}"
                )
        if gain.attack == gain.against:
            raise StudyError(
                f"gains: {gain.attack!r} is compared with itself; name another attack in `against`"
            )


def check(study: Study) -> None:
    """Refuse contradictions between sections."""
    _check_ids(study)
    _check_gains(study)
    _check_unused(study)
    if study.explained > study.victims:
        raise StudyError(
            f"explained: {study.explained} victims cannot be explained of {study.victims}; "
            "lower it, or raise victims"
        )
    _check_counts(study)
    for prior in study.priors:
        if prior.dataset is not None:
            study.one("datasets", prior.dataset)
    _check_threats(study)
    for attack in study.attacks:
        _check_attack(attack, study)
        _check_simulated(attack, study)
    check_places(study)
    check_sizes(study)


def _check_counts(study: Study) -> None:
    """Refuse a data set with too few images for the study's victims, or for the clients of its federation."""
    images = max(protocol.images for protocol in study.protocols)
    for dataset in study.datasets:
        if dataset.counts["victims"] < study.victims * images:
            raise StudyError(
                f"datasets.{dataset.id}: {study.victims} victims of up to {images} images need "
                f"{study.victims * images} images in counts.victims, not {dataset.counts['victims']}"
            )
        clients = sum(study.federation.client_images)
        if dataset.counts["train"] < clients:
            raise StudyError(
                f"datasets.{dataset.id}: federation.client_images are {clients} images in all; "
                f"counts.train is only {dataset.counts['train']}"
            )


def _check_threats(study: Study) -> None:
    """Refuse a threat model that grants more rounds than there are."""
    most = max(protocol.rounds for protocol in study.protocols)
    for threat in study.threat_models:
        if threat.rounds > most:
            raise StudyError(
                f"threat_models.{threat.id}: {threat.rounds} rounds are granted, but clients take part in {most} at most; "
                "raise 'rounds' of a protocol"
            )


def _check_attack(attack: Attack, study: Study) -> None:
    """Refuse an attack that lacks a prior, or that no defense and threat model lets run."""
    priors = {prior.id: prior.name for prior in study.priors}
    for identifier in attack.priors:
        if identifier not in priors:
            raise StudyError(
                f"attacks.{attack.id}: unknown prior {identifier!r}; "
                + (nearest(identifier, list(priors)) if priors else "the study has none")
            )
    if attack.rounds != "first" and all(threat.rounds == 1 for threat in study.threat_models):
        raise StudyError(
            f"attacks.{attack.id}: 'rounds: {attack.rounds}' needs a threat model that grants several 'rounds'"
        )
    _check_counter(attack, study)
    given = {priors[identifier] for identifier in attack.priors}
    needing = [(attack.name, catalogue.entries("attacks")[attack.name])]
    if attack.counter:
        needing.append((attack.counter, catalogue.entries("counters")[attack.counter]))
    for name, entry in needing:
        needed = [
            requirement.removeprefix("prior:")
            for requirement in entry.requires
            if requirement.startswith("prior:")
        ]
        if needed and not given & set(needed):
            raise StudyError(
                f"attacks.{attack.id}: {name} needs 'prior:' to be the id of a prior "
                f"of the kind {' or '.join(needed)}; the study has: {', '.join(priors) or 'none'}"
            )


def _check_simulated(attack: Attack, study: Study) -> None:
    """Refuse an attack that chooses its settings under a disclosed defense with a shadow generator, and has none to simulate it."""
    kinds = {study.one("priors", prior).name for prior in attack.priors}
    if not attack.tuned or "shadow_generator" in kinds:
        return
    for defense in study.defenses:
        needs = catalogue.entries("defenses")[defense.name].requires
        known = [threat for threat in study.threat_models if threat.disclosure]
        if "shadow" in needs and any(attack.meets(defense, threat) for threat in known):
            raise StudyError(
                f"attacks.{attack.id}: to choose its settings (tuning) it simulates clients with the defense {defense.id!r}, for "
                "which an attacker needs a shadow generator of its own: add a prior of the kind 'shadow_generator' to its 'prior'"
            )


def _check_counter(attack: Attack, study: Study) -> None:
    """Refuse a counter to a defense that the study lacks, and an attack that needs disclosure if no threat model grants it."""
    what = attack.counter or attack.name
    if attack.counter and not any(
        catalogue.answers(attack.counter, defense.name) for defense in study.defenses
    ):
        answered = what.partition(".")[0]
        known = list(dict.fromkeys(defense.name for defense in study.defenses))
        raise StudyError(
            f"attacks.{attack.id}: {what} answers the defense {answered!r}, which the study does not have "
            f"({', '.join(known)}); add it to defenses, or leave the counter out"
        )
    needed = catalogue.entries("counters")[attack.counter].weights if attack.counter else ()
    for name in needed:
        if attack.parameters.get(name, 0.0) == 0.0:
            raise StudyError(
                f"attacks.{attack.id}: {what} needs the {name.replace('_', ' ')} of its attack; give {attack.name} that parameter with a "
                "weight, or choose an attack that has it"
            )
    if "disclosure" in attack.requires and not any(
        threat.disclosure for threat in study.threat_models
    ):
        raise StudyError(
            f"attacks.{attack.id}: {what} needs a threat model with 'disclosure: true'; "
            "add one to threat_models, or leave the attack out"
        )
