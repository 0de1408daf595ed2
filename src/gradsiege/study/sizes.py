"""Checks that a study has enough images, and large enough ones, for its models, priors and clients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gradsiege import catalogue
from gradsiege.errors import StudyError
from gradsiege.study.document import Study
from gradsiege.study.placement import admits, rule_of
from gradsiege.study.sections import Dataset, Prior
from gradsiege.study.selection import LISTS
from gradsiege.study.tuning import images_set_aside


def check_sizes(study: Study) -> None:
    """Refuse an image size that a method cannot handle, and a role with too few images."""
    for dataset in study.datasets:
        _check_clients(study, dataset)
        for place, entry, parameters in _meeting(study, dataset):
            refused = entry.refused_side(dataset.size, parameters)
            if refused:
                raise StudyError(
                    f"{place}: {refused}; change 'size' of datasets.{dataset.id}, or leave one of the two out"
                )
    aside = images_set_aside(study)
    for dataset in study.datasets:
        if dataset.counts["aux"] < aside:
            raise StudyError(
                f"tuning: its simulated clients hold {aside} images, and counts.aux of datasets.{dataset.id} is "
                f"{dataset.counts['aux']}; raise counts.aux, or lower clients"
            )
    for prior, dataset, least in _owners(study):
        share = prior.parameters.get("fraction", 1.0)
        owned = round(share * (dataset.counts["aux"] - aside))
        if owned < least:
            raise StudyError(
                f"priors.{prior.id}: {max(owned, 0)} images are too few, at least {least} are needed; raise counts.aux "
                f"({dataset.counts['aux']}{f', {aside} of them set aside for tuning' if aside else ''}) of datasets.{dataset.id}"
                + (f", or 'fraction' ({share:g})" if share < 1 else "")
            )


def _check_clients(study: Study, dataset: Dataset) -> None:
    """Refuse too few images: every client needs one, and the defender's generator its least number."""
    federation, images = study.federation, dataset.counts["train"]
    if federation.clients > images:
        raise StudyError(
            f"federation.clients: {federation.clients} clients cannot share the {images} images of counts.train of "
            f"datasets.{dataset.id}; lower it to {images} or less, or raise counts.train"
        )
    generator = catalogue.entries("priors")["shadow_generator"]
    shadowed = [defense.id for defense in study.defenses if _shadowed(defense.name)]
    if shadowed and dataset.counts["public"] < generator.least_images:
        raise StudyError(
            f"datasets.{dataset.id}: the shadow generator of defenses.{shadowed[0]} needs at least "
            f"{generator.least_images} images in counts.public, not {dataset.counts['public']}"
        )


def _shadowed(defense: str) -> bool:
    return "shadow" in catalogue.entries("defenses")[defense].requires


def _meeting(
    study: Study, dataset: Dataset
) -> Iterator[tuple[str, catalogue.Entry, dict[str, Any]]]:
    """Yield (place, entry, parameters) of every method that uses images of a data set."""
    for model in study.models:
        if not _cut(study, dataset=dataset.id, model=model.id):
            entry = catalogue.entries("models")[model.name]
            yield f"models.{model.id}", entry, model.parameters
    for attack in study.attacks:
        if not _cut(study, dataset=dataset.id, attack=attack.id):
            entry = catalogue.entries("attacks")[attack.name]
            yield f"attacks.{attack.id}", entry, attack.parameters
    for defense in study.defenses:
        if _shadowed(defense.name) and not _cut(study, dataset=dataset.id, defense=defense.id):
            entry = catalogue.entries("priors")["shadow_generator"]
            yield f"defenses.{defense.id}", entry, {}
    for prior, owner, _ in _owners(study):
        if owner.id == dataset.id:
            yield f"priors.{prior.id}", catalogue.entries("priors")[prior.name], prior.parameters


def _owners(study: Study) -> Iterator[tuple[Prior, Dataset, int]]:
    """Yield (prior, data set that it is trained on, images that it and its attack need) for every attack that reads one."""
    for attack in study.attacks:
        for prior in (study.one("priors", identifier) for identifier in attack.priors):
            kinds = (
                catalogue.entries("priors")[prior.name],
                catalogue.entries("attacks")[attack.name],
            )
            least = max(entry.least_images for entry in kinds)
            for dataset in study.datasets:
                if prior.dataset == dataset.id or (
                    prior.dataset is None and not _cut(study, dataset=dataset.id, attack=attack.id)
                ):
                    yield prior, dataset, least


def _cut(study: Study, **chosen: str) -> bool:
    """Whether the `only` of one of the chosen items keeps it from the others."""
    items = [study.one(LISTS[field], identifier) for field, identifier in chosen.items()]
    rules = [rule for rule in map(rule_of, items) if rule]
    return not all(admits(rule, chosen) for rule in rules)
