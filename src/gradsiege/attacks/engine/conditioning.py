"""Draw for one class and match with another: conditioning in the generator's own label space (arXiv 2604.00955).

The inferred label belongs to the private classifier and stays in the matching loss whatever happens here. What the generator
is asked for is a class of the data it was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradsiege.attacks.engine.l1_ball import onto_simplex
from gradsiege.attacks.engine.recipe import Again, Knowledge
from gradsiege.attacks.engine.spaces import Space
from gradsiege.attacks.engine.variables import Variables
from gradsiege.errors import StudyError, ThreatModelError
from gradsiege.priors import mapping_classifier

LabelMapping = Literal["none", "mapped", "random", "oracle", "soft"]
CLASS = "class"


@dataclass(frozen=True)
class Translated:
    """`inner`, its images drawn for ``table[label]``.

    Attributes:
        table: ``[private classes]``, for each the generator's class.
    """

    inner: Space
    table: Tensor

    def start(self, generator: torch.Generator) -> Variables:
        """Draw the starting point of `inner`."""
        return self.inner.start(generator)

    def follow(self, before: Variables) -> Variables:
        """Go on as `inner` does."""
        return self.inner.follow(before)

    def decode(self, x: Variables, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images for the translated labels."""
        return self.inner.decode(x, self.table.to(labels.device)[labels])

    def labels(self, x: Variables, labels: Tensor) -> Tensor:
        """Match with the labels as they are."""
        return labels

    def project(self, x: Variables) -> Variables:
        """Project as `inner` does."""
        return self.inner.project(x)


@dataclass(frozen=True)
class Conditioned:
    """`inner`, its images drawn for classes that every element has among its variables.

    Variables: those of `inner`, and ``class [images, classes]``, probabilities over the generator's classes, which mix its
    class embeddings. They start at one class drawn at random, or at all alike if they are optimised; optimised ones are
    projected to the simplex, others stay as they are.

    Attributes:
        count: images of one element.
        classes: that the generator knows.
        optimised: whether the probabilities are searched too.
    """

    inner: Space
    count: int
    classes: int
    optimised: bool = False

    def start(self, generator: torch.Generator) -> Variables:
        """Draw the starting point of `inner`, then the classes."""
        x, count = self.inner.start(generator), self.count
        if self.optimised:
            return {**x, CLASS: torch.full((count, self.classes), 1 / self.classes)}
        drawn = torch.randint(self.classes, (count,), generator=generator)
        return {**x, CLASS: F.one_hot(drawn, self.classes).float()}

    def follow(self, before: Variables) -> Variables:
        """Go on as `inner` does, with the same classes."""
        return {**self.inner.follow(before), CLASS: before[CLASS]}

    def decode(self, x: Variables, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images for the element's own classes."""
        probabilities = x[CLASS] if self.optimised else x[CLASS].detach()
        return self.inner.decode(x, probabilities)

    def labels(self, x: Variables, labels: Tensor) -> Tensor:
        """Match with the labels as they are."""
        return labels

    def project(self, x: Variables) -> Variables:
        """Project as `inner` does, and optimised classes to the probability simplex."""
        x = self.inner.project(x)
        return {**x, CLASS: onto_simplex(x[CLASS])} if self.optimised else x


def remap(classifier: nn.Module, classes: int) -> Again:
    """Return what makes a fine pass of a coarse one: the same starts, the classes that `classifier` sees in its images.

    The most probable class of each image, as published; it is one of the data that the generator was trained on.
    """

    def again(starts: Variables, images: Tensor) -> Variables:
        with torch.no_grad():
            shown = torch.nan_to_num(images).flatten(0, 1)
            seen = classifier.to(images.device)(shown).argmax(-1)
        probabilities = F.one_hot(seen, classes).to(images.dtype)
        return {**starts, CLASS: probabilities.view(*images.shape[:2], classes)}

    return again


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
    count = knowledge.observation.images
    latent = Conditioned(spaces[0], count, classes, optimised=mapping == "soft")
    return [latent, *(Conditioned(space, count, classes) for space in spaces[1:])]


def remapping(classes: int, knowledge: Knowledge) -> Again:
    """Return `remap` with the attacker's mapping classifier, or refuse: it must know the generator's classes."""
    prior = knowledge.trained("mapping_classifier")
    if prior is None:
        raise ThreatModelError(
            "label_mapping mapped needs a second prior of the kind mapping_classifier; "
            "name both in the study file, prior: [generator, classifier]"
        )
    if prior.card["classes"] != classes:
        raise ThreatModelError(
            f"the mapping classifier knows {prior.card['classes']} classes and the generator {classes}; "
            "train both on the same images"
        )
    return remap(mapping_classifier.load(prior.weights).to(knowledge.device), classes)
