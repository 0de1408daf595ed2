"""The classes that a generator is asked for, given what an attacker knows (arXiv 2604.00955)."""

from __future__ import annotations

import torch

from gradsiege.attacks.knowledge import Knowledge
from gradsiege.attacks.spaces.conditioning import Conditioned, LabelMapping, Translated, remap
from gradsiege.attacks.spaces.space import Again, Space
from gradsiege.errors import StudyError, ThreatModelError
from gradsiege.priors.mapping_classifier import MappingClassifier


def conditioned(
    spaces: list[Space],
    mapping: LabelMapping,
    table: tuple[int, ...],
    classes: int,
    knowledge: Knowledge,
) -> list[Space]:
    """Return the spaces of one pass, a latent and its features, their images drawn as `mapping` says.

    ``none`` draws for the matched label, read as a class of the generator; ``oracle`` for the true one, through `table`
    unless that is empty; ``random`` for one drawn once per start; ``soft`` for a mixture that is optimised with the latent;
    ``mapped`` for what `remap` writes.

    Args:
        spaces: the latent's and the features'.
        mapping, table: as above; the table has the generator's class of every private one.
        classes: that the generator knows.
        knowledge: what the attacker has.
    """
    if mapping == "oracle" and not knowledge.threat.grants("labels"):
        raise ThreatModelError(
            "label_mapping oracle draws the true class; let the threat model grant labels"
        )
    private = knowledge.observation.model.classes
    if table and (mapping != "oracle" or len(table) != private):
        raise StudyError(
            "class_table belongs to label_mapping oracle and has an entry for each of the "
            f"{private} private classes; it has {len(table)}, and label_mapping is {mapping}"
        )
    if table:
        return [Translated(space, torch.tensor(table, device=knowledge.device)) for space in spaces]
    if mapping in ("none", "oracle"):
        return spaces
    count = knowledge.observation.images_per_client
    latent = Conditioned(spaces[0], count, classes, optimised=mapping == "soft")
    return [latent, *(Conditioned(space, count, classes) for space in spaces[1:])]


def remapping(classes: int, knowledge: Knowledge) -> Again:
    """Return `remap` with the attacker's mapping classifier, or refuse: it must know the generator's classes."""
    prior = knowledge.trained("mapping_classifier")
    if prior is None:
        raise ThreatModelError(
            "label_mapping mapped needs a second prior of the kind mapping_classifier: in Python give both, "
            "`priors=[generator, classifier]`; in a study file name both, prior: [generator, classifier]"
        )
    if prior.card["classes"] != classes:
        raise ThreatModelError(
            f"the mapping classifier knows {prior.card['classes']} classes and the generator {classes}; "
            "train both on the same images"
        )
    return remap(MappingClassifier.load(prior.weights).to(knowledge.device), classes)
