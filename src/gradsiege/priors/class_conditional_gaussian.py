"""A Gaussian per class with one covariance for all: what the auxiliary images say about means and second moments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gradsiege.errors import StudyError
from gradsiege.priors.base import Prior, Trained
from gradsiege.priors.held_out import hold_out
from gradsiege.priors.resumable import UNSAVED, Checkpointer
from gradsiege.ranges import PositiveShare

VERSION = 1
LEAST_IMAGES = 4


@dataclass(frozen=True)
class ClassConditionalGaussian(Prior):
    """A mean image of each class, and one covariance for all.

    The covariance has one row and column per value of an image: 38 MB at 32 px and three channels, 600 MB at 64 px.

    Attributes:
        fraction: share of the auxiliary images that the attacker owns, in (0, 1].
        shrinkage: weight of a multiple of the identity in the covariance, in (0, 1].
    """

    name = "class_conditional_gaussian"

    fraction: PositiveShare = 1.0
    shrinkage: PositiveShare = 0.002

    def train(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        checkpointer: Checkpointer = UNSAVED,
    ) -> Trained:
        """Return (means ``[classes, c, h, w]`` and factor ``[d, d]``, card); a tenth of the images is held out.

        A class without an image has the mean of all images. `checkpointer` is not used: there are no steps.
        """
        owned = max(LEAST_IMAGES, round(self.fraction * len(images)))
        order = torch.randperm(len(images), generator=generator)[:owned]
        held, kept = hold_out(order)
        means = class_means(images[kept].double(), labels[kept], int(labels.max()) + 1)
        rows = (images[kept].double() - means[labels[kept]]).flatten(1)
        covariance = shrunk_covariance(rows, len(labels[kept].unique()), self.shrinkage)
        factor = torch.linalg.cholesky(covariance)
        left = (images[held].double() - means[labels[held]]).flatten(1)
        card: dict[str, Any] = {
            "prior": "class_conditional_gaussian",
            "images": len(kept),
            "classes": len(labels[kept].unique()),
            "held_out_nats": float(nats(left, factor)),
        }
        return {"means": means.float(), "factor": factor.float()}, card

    @staticmethod
    def load(weights: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return (means ``[classes, c, h, w]``, lower factor L ``[d, d]`` of the covariance L L^T)."""
        return weights["means"], weights["factor"]


def class_means(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the mean image of every class, ``[classes, c, h, w]``; that of all images for a class without any.

    >>> class_means(torch.tensor([[[[0.0]]], [[[1.0]]], [[[2.0]]]]), torch.tensor([0, 2, 2]), 3).flatten()
    tensor([0.0000, 1.0000, 1.5000])
    """
    means = images.mean(0).repeat(classes, 1, 1, 1)
    for label in labels.unique():
        means[label] = images[labels == label].mean(0)
    return means


def shrunk_covariance(rows: Tensor, classes: int, shrinkage: float) -> Tensor:
    """Return (1 - s) S + s tr(S) / d I, S the pooled covariance of class-centred rows ``[n, d]`` with n - classes degrees.

    The form of Ledoit and Wolf (Journal of Multivariate Analysis, 2004), with a fixed s.

    >>> shrunk_covariance(torch.tensor([[3.0, 0.0], [-3.0, 0.0]]), 1, 0.5)
    tensor([[13.5000,  0.0000],
            [ 0.0000,  4.5000]])

    Raises:
        StudyError: no image differs from the mean of its class.
    """
    covariance = rows.T @ rows / max(1, len(rows) - classes)
    variance = covariance.diagonal().mean()
    if not variance > 0:
        raise StudyError(
            "class_conditional_gaussian: no auxiliary image differs from the mean of its class; give more images per class"
        )
    return (1 - shrinkage) * covariance + shrinkage * variance * torch.eye(len(covariance)).to(rows)


def nats(rows: Tensor, factor: Tensor) -> Tensor:
    """Return the mean of -log N(row; 0, L L^T) over rows ``[n, d]``, in nats per coordinate.

    >>> round(float(nats(torch.zeros(1, 2), torch.eye(2))), 4)
    0.9189
    """
    whitened = torch.linalg.solve_triangular(factor, rows.T, upper=False)
    log_determinant = factor.diagonal().log().mean()
    mean: Tensor = whitened.square().mean() / 2 + log_determinant + math.log(2 * math.pi) / 2
    return mean
