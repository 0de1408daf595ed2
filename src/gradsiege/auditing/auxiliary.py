"""The attacker's own pictures: those that the user gives as public, or photographs that ship with a package."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.extras import need
from gradsiege.models.adapted import AdaptedModel
from gradsiege.priors.auxiliary_images import AuxiliaryImages
from gradsiege.priors.base import TrainedPrior
from gradsiege.priors.class_conditional_gaussian import ClassConditionalGaussian

EMBEDDED = 300
# Pictures that are kept for the choice of settings, at most a quarter of all.
SPARE = 48
# Sides between which crops of the embedded photographs are cut; others are resized.
SIDES = (8, 64)


@dataclass(frozen=True, eq=False)
class Auxiliary:
    """What the attacker owns.

    Attributes:
        images: ``[n, c, h, w]`` in [0, 1]; labels: ``[n]``.
        source: one sentence on where they come from.
        spare, spare_labels: further ones, for the choice of settings, from which no prior learns.
    """

    images: Tensor
    labels: Tensor
    source: str
    spare: Tensor
    spare_labels: Tensor


def embedded(shape: tuple[int, int, int]) -> Tensor:
    """Return crops of public photographs, ``[EMBEDDED, c, h, w]`` in [0, 1].

    Raises:
        MissingError: the package that holds them is not installed.
    """
    need("skimage", "PIL")
    from gradsiege.datasets.photos import Photos

    channels, height, width = shape
    side = min(max(SIDES[0], height, width), SIDES[1])
    stored = Photos().prepare(side, {"aux": EMBEDDED}, 0).splits["aux"].images
    images = torch.from_numpy(stored).float() / 255
    if channels == 1:
        images = images.mean(1, keepdim=True)
    if (height, width) != (side, side):
        images = torch.nn.functional.interpolate(
            images, size=(height, width), mode="bilinear", align_corners=False, antialias=True
        )
    return images.clamp(0, 1)


def auxiliary(
    architecture: AdaptedModel, images: Tensor | None, labels: Tensor | None, source: str = ""
) -> Auxiliary:
    """Return the attacker's pictures with labels; where there are none, the network's own predictions serve.

    Args:
        architecture: the audited network, with its weights.
        images: public pictures ``[n, c, h, w]`` in [0, 1]; None for embedded photographs.
        labels: ``[n]``, or None.
        source: what the pictures are, for the page.
    """
    told = source or "public pictures that were given as the attacker's"
    if images is None:
        images = embedded(architecture.image_shape)
        told = "crops of ten public photographs that ship with scikit-image"
    if labels is None:
        labels = predictions(architecture, images)
        told += ", labelled by the network's own predictions"
    kept = len(images) - min(SPARE, len(images) // 4)
    return Auxiliary(
        images[:kept], labels[:kept], f"{len(images)} {told}", images[kept:], labels[kept:]
    )


def predictions(architecture: AdaptedModel, images: Tensor) -> Tensor:
    """Return the class of largest logit of every image, ``[n]``."""
    network = architecture.build()
    like = next(network.parameters())
    with torch.no_grad():
        parts = [network(part.to(like)).argmax(1) for part in images.split(64)]
    return torch.cat(parts)


def priors_of(kinds: tuple[str, ...], owned: Auxiliary, classes: int) -> list[TrainedPrior]:
    """Return the priors of these kinds, trained on the attacker's pictures; kinds that an audit does not train are left out.

    Raises:
        StudyError: the pictures do not differ from each other.
    """
    trained = []
    if "auxiliary_images" in kinds:
        trained.append(AuxiliaryImages().fit(owned.images, owned.labels))
    if "class_conditional_gaussian" in kinds:
        prior = ClassConditionalGaussian().fit(owned.images, owned.labels)
        trained.append(_of_all_classes(prior, owned.images, classes))
    return trained


def _of_all_classes(prior: TrainedPrior, images: Tensor, classes: int) -> TrainedPrior:
    """Return the prior with a mean for every class of the network: that of all pictures where the attacker has none of a class."""
    means = prior.weights["means"]
    lacking = classes - len(means)
    if lacking <= 0:
        return prior
    padded = torch.cat([means, images.mean(0).to(means).expand(lacking, *means.shape[1:])])
    return TrainedPrior(prior.name, {**prior.weights, "means": padded}, prior.card)
