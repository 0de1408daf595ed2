"""What no section can see alone: names that the catalogue lacks, ids that nothing bears, sections that contradict each other."""

from __future__ import annotations

import itertools
from typing import Any

from gradsiege import catalogue
from gradsiege.errors import StudyError, nearest
from gradsiege.study.document import Study
from gradsiege.study.sections import Attack, Method
from gradsiege.study.sizes import check_sizes


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
            resolved.append(item.model_copy(update={"parameters": parameters}))
        update[section] = resolved
    for figure in study.figures:
        catalogue.lookup("figures", figure, "figures")
    return study.model_copy(update=update)


def _ids(study: Study) -> dict[str, list[Any]]:
    """The ids that stand in every list of the study, by the field of a cell that holds one of them."""
    return {
        "dataset": [item.id for item in study.datasets],
        "model": [item.id for item in study.models],
        "defense": [item.id for item in study.defenses],
        "training_stage": list(study.training_stages),
        "protocol": [item.id for item in study.protocols],
        "seed": list(study.seeds),
        "threat_model": [item.id for item in study.threat_models],
        "attack": [item.id for item in study.attacks],
    }


def _check_ids(study: Study) -> None:
    """Refuse an id that stands twice, and a rule of include or exclude that names an unknown one."""
    ids = _ids(study)
    others = {"prior": [item.id for item in study.priors], "figure": list(study.figures)}
    for field, known in {**ids, **others}.items():
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
    for section in ("include", "exclude"):
        for rule in getattr(study, section):
            for field, wanted in rule.items():
                if field not in ids:
                    raise StudyError(
                        f"{section}: unknown key {field!r}; {nearest(field, list(ids))}"
                    )
                for value in wanted if isinstance(wanted, list) else [wanted]:
                    if value not in ids[field]:
                        hint = nearest(str(value), [str(known) for known in ids[field]])
                        raise StudyError(
                            f"{section}: {field} {value!r} is not in the study; {hint}"
                        )


def _check_learned(study: Study) -> None:
    """Refuse what says how updates are matched, beside an attack that matches none."""
    matching = ("restarts", "update_model", "evaluated_at", "patience", "rounds", "counter")
    for attack in study.attacks:
        if "prior:auxiliary_images" not in catalogue.entries("attacks")[attack.name].requires:
            continue
        for key in matching:
            if getattr(attack, key) != Attack.model_fields[key].default:
                raise StudyError(
                    f"attacks.{attack.id}: {attack.name} learns from simulated clients and matches no update, so that "
                    f"{key!r} would change nothing; leave it out"
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
    _check_learned(study)
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
    """Refuse an attack without a prior that it needs, or without any defense and threat model on which it would run."""
    priors = {prior.id: prior.name for prior in study.priors}
    needed = [
        requirement.removeprefix("prior:")
        for requirement in catalogue.entries("attacks")[attack.name].requires
        if requirement.startswith("prior:")
    ]
    for identifier in attack.priors:
        if identifier not in priors:
            raise StudyError(
                f"attacks.{attack.id}: unknown prior {identifier!r}; "
                + (nearest(identifier, list(priors)) if priors else "the study has none")
            )
    everywhere = itertools.product(study.defenses, study.threat_models)
    if attack.rounds != "first" and all(one.rounds == 1 for one in study.threat_models):
        raise StudyError(
            f"attacks.{attack.id}: 'rounds: {attack.rounds}' needs a threat model that grants several 'rounds'"
        )
    if not any(attack.meets(*pair) for pair in everywhere):
        what = attack.counter or attack.name
        defense = f"a defense {what.partition('.')[0]!r} and " if attack.counter else ""
        raise StudyError(
            f"attacks.{attack.id}: {what} needs {defense}a threat model with 'disclosure: true' in the study; "
            "add what is missing, or leave the attack out"
        )
    if needed and not {priors[identifier] for identifier in attack.priors} & set(needed):
        raise StudyError(
            f"attacks.{attack.id}: {attack.name} needs 'prior:' to be the id of a prior "
            f"of the kind {' or '.join(needed)}; the study has: {', '.join(priors) or 'none'}"
        )
