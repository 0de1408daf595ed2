"""What makes an image plausible; each returns one number for the images of one element."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from gradsiege.priors.autoencoder import reconstruction_error


@dataclass(frozen=True)
class Candidate:
    """The images of one element: ``normalised`` as the network sees them, ``images`` in [0, 1]; both ``[b, c, h, w]``."""

    normalised: Tensor
    images: Tensor


Regularizer = Callable[[Candidate], Tensor]


def total_variation(candidate: Candidate) -> Tensor:
    """Return mean |dx| + mean |dy| of the normalised images (Geiping et al., NeurIPS 2020, section 4).

    >>> import torch
    >>> stripes = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    >>> total_variation(Candidate(stripes, stripes)).item()
    1.0
    """
    x = candidate.normalised
    return (x.diff(dim=-1)).abs().mean() + (x.diff(dim=-2)).abs().mean()


def anomaly_score(network: nn.Module, typical_error: float, per_image: bool) -> Regularizer:
    """Return GI-PIP's prior AS(x) = | mean (u - AE(u))^2 - m0 | (Sun et al., ICASSP 2024).

    m0 is the autoencoder's typical error on real images, so images that are harder *or* easier than
    real ones are penalised. With `per_image` the absolute value is taken image by image; the released code
    takes it of the batch mean, where an easy and a hard image cancel.
    """

    def score(candidate: Candidate) -> Tensor:
        errors = reconstruction_error(network, candidate.images.clamp(0, 1))
        if per_image:
            return (errors - typical_error).abs().mean()
        return (errors.mean() - typical_error).abs()

    return score
