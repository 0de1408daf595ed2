"""Principal components of the auxiliary images, as many as GI-PIP's autoencoder has parameters: its linear control."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradsiege.errors import StudyError
from gradsiege.priors import autoencoder
from gradsiege.priors.base import Prior, Trained
from gradsiege.priors.resumable import UNSAVED, Checkpointer
from gradsiege.ranges import Count, PositiveShare

VERSION = 1
LEAST_IMAGES = 2


@dataclass(frozen=True)
class PCA(Prior):
    """`fraction` of `aux` that the attacker owns. `components`: None for as many numbers as the autoencoder has.

    If the images allow fewer components than that, all of these are used.
    """

    name = "pca"

    fraction: PositiveShare = 1.0
    components: Count | None = None

    def train(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        checkpointer: Checkpointer = UNSAVED,
    ) -> Trained:
        """Return (weights, card): the components of the images and their mirror images, since the autoencoder sees both.

        images: ``[n, c, h, w]`` in [0, 1]; labels: ``[n]``.
        """
        held_out, training = autoencoder.split(images, self.fraction, generator)
        both = torch.cat([training, training.flip(3)])
        most = min(len(both), both[0].numel()) - 1
        count = self.components
        if count is None:
            count = min(most, equal_components(images.shape[1], images.shape[-1]))
        if not 1 <= count <= most:
            raise StudyError(
                f"pca: {len(training)} training images and their mirror images allow 1 to {most} "
                f"components, not {count}"
            )
        mean = both.mean(0)
        centred = (both - mean).flatten(1)
        network = PrincipalComponents(mean, leading_components(centred, count, generator))
        explained = (centred @ network.components.T).square().sum() / centred.square().sum()
        card = {
            "prior": "pca",
            **autoencoder.card(network, held_out, training),
            "components": count,
            "explained_variance": float(explained),
        }
        return dict(network.state_dict()), card

    @staticmethod
    def load(weights: dict[str, Tensor]) -> PrincipalComponents:
        """Return the projection.

        weights: by name, each in the shape in which `train` returned it.
        """
        return PrincipalComponents(weights["mean"], weights["components"]).eval()


class PrincipalComponents(nn.Module):
    """Images projected to the affine space of their mean and their leading components.

    Buffers: ``mean [c, h, w]`` and ``components [k, c * h * w]``, orthonormal rows.
    """

    mean: Tensor
    components: Tensor

    def __init__(self, mean: Tensor, components: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("components", components)

    def forward(self, images: Tensor) -> Tensor:
        """Return the nearest points of that space to images ``[n, c, h, w]``."""
        rows = (images - self.mean).flatten(1)
        return self.mean + (rows @ self.components.T @ self.components).view_as(images)


def equal_components(channels: int, size: int) -> int:
    """Return the number of components, at least 1, that have as many numbers as the autoencoder; the mean counts as one.

    >>> equal_components(3, 32), equal_components(3, 64)
    (14, 2)
    """
    with torch.device("meta"):
        network = autoencoder.AutoencoderNetwork(channels)
    budget = sum(value.numel() for value in network.parameters())
    return max(1, budget // (channels * size**2) - 1)


def leading_components(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return the `count` leading right singular vectors of ``[n, d]``, strongest first, by Lanczos iteration."""
    from scipy.sparse.linalg import svds

    start = torch.randn(min(rows.shape), generator=generator, dtype=torch.float64)
    _, values, vectors = svds(rows.double().numpy(), k=count, v0=start.numpy())
    order = values.argsort()[::-1].copy()
    return torch.from_numpy(vectors[order]).float()
