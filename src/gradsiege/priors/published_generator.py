"""A prior that is a published generator: nothing is trained, and the card names the file instead of a training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from gradsiege.errors import StudyError
from gradsiege.priors.base import Trained
from gradsiege.priors.published_weights import demand
from gradsiege.priors.staged_gan.generator import Staged

Generator = TypeVar("Generator", bound=Staged)
Shape = Callable[[dict[str, Tensor], int], Generator]


def side_in_colour(images: Tensor, title: str) -> int:
    """Return the side of colour images ``[n, 3, side, side]``.

    Raises:
        StudyError: the images are grey, and a generator of colour images cannot show them.
    """
    if images.shape[1] != 3:
        raise StudyError(
            f"{title} makes colour images; the auxiliary ones have {images.shape[1]} channel"
        )
    return images.shape[-1]


def packed(
    weights: dict[str, Tensor],
    side: int,
    shaped: Shape[Staged],
    title: str,
    file: Path,
    sha256: str,
) -> Trained:
    """Return what `Prior.train` returns: the converted weights with the side of the images, and the card.

    Args:
        weights: converted weights by name.
        side: of the images handed out, in pixels.
        shaped: makes the network for weights and a side, without values.
        title: name of the generator in errors; in lower case, that of the prior.
        file, sha256: the published file and its digest.

    Raises:
        GradSiegeError: the weights are not those of the network.
    """
    network = shaped(weights, side)
    demand(weights, {name: value.shape for name, value in network.state_dict().items()}, title)
    card = {
        "prior": title.lower(),
        "file": file.name,
        "sha256": sha256,
        "classes": network.classes,
        "latent": network.latent,
        "size": network.size,
        "parameters": sum(value.numel() for value in network.parameters()),
        "trained_on": 0,
    }
    return {**weights, "size": torch.tensor(network.size)}, card


def unpacked(weights: dict[str, Tensor], shaped: Shape[Generator]) -> Generator:
    """Return the generator whose weights `packed` returned, frozen.

    weights: by name, each in the shape in which `packed` returned it.
    """
    tensors = {name: value for name, value in weights.items() if name != "size"}
    network = shaped(tensors, int(weights["size"]))
    network.load_state_dict(tensors, assign=True)
    return network.eval().requires_grad_(False)
