"""Whether a network takes pictures of a size, and how many classes it tells apart, before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gradsiege.auditing.inputs.named import of_catalogue
from gradsiege.auditing.inputs.networks import network_named
from gradsiege.auditing.inputs.weights import unwrapped
from gradsiege.errors import GradSiegeError, ModelError, UsageError

# Sides of pictures that are tried where the given one does not fit.
SIDES = (8, 16, 28, 32, 48, 64, 96, 112, 128, 160, 192, 224, 256, 299, 384)
Shape = tuple[int, int, int]


def outputs_of(
    network: nn.Module, shape: Shape, model: str, classes: int | None = None
) -> int | None:
    """Return the number of a network's logits; None if it returns none, of which an audit then complains.

    Args:
        network: as `model` and `classes` of the command line name it.
        shape: channels, height and width of a picture.

    Raises:
        ModelError: the network takes pictures of another size, which is named; or it returns fewer than two logits.
    """
    logits = _answer(network, shape)
    if logits is None:

        def takes(side: int) -> bool:
            square = (shape[0], side, side)
            other = _of_side(model, classes, square) if _is_built_for_a_size(model) else network
            return other is not None and _answer(other, square) is not None

        side = next(filter(takes, _by_distance(shape)), None)
        if side is not None:
            raise ModelError(
                f"{model} does not take pictures of {shape[1]} x {shape[2]} pixels; give --size {side}, which it takes"
            )
        return None
    if not isinstance(logits, Tensor) or logits.is_nested or logits.dim() != 2:
        return None
    if logits.shape[1] < 2:
        raise ModelError(
            f"{model} returns {logits.shape[1]} logit per picture, and a single class has no gradient: give two; for the one of a sigmoid, z, "
            "they are (0, z)"
        )
    return logits.shape[1]


def refuse_count(model: str, classes: int | None, outputs: int | None) -> None:
    """Refuse a number of classes that a network does not have, since nobody but its factory can change it.

    Raises:
        UsageError: names both numbers.
    """
    if None not in (classes, outputs) and classes != outputs:
        raise UsageError(
            f"--classes is {classes}, and the network of --model {model} has {outputs} outputs; change the network, or leave --classes out"
        )


def refuse_size(
    model: str, classes: int | None, shape: Shape, weights: Mapping[str, Tensor], source: str
) -> None:
    """Refuse weights of the same network for pictures of another size; only some networks are built for a size.

    Args:
        model, classes: of the command line.
        shape: channels, height and width of a picture; `weights`: by name; `source`: their option and file.

    Raises:
        ModelError: names the size.
    """
    if not _is_built_for_a_size(model):
        return
    given = unwrapped(weights)

    def fits(side: int) -> bool:
        network = _of_side(model, classes, (shape[0], side, side), weights)
        made = {} if network is None else network.state_dict()
        return network is not None and all(
            name in made and made[name].shape == value.shape for name, value in given.items()
        )

    side = None if fits(shape[1]) else next(filter(fits, _by_distance(shape)), None)
    if side is not None:
        raise ModelError(
            f"{source} are those of {model} for other pictures than {shape[1]} x {shape[2]} pixels; give --size {side}, which they fit"
        )


def _is_built_for_a_size(model: str) -> bool:
    """Return whether a network takes pictures of one size alone, for which it is built."""
    return of_catalogue("models", model) or model.startswith("torchvision:vit_")


def _of_side(
    model: str, classes: int | None, shape: Shape, weights: Mapping[str, Tensor] | None = None
) -> nn.Module | None:
    """Return the network as it is built for pictures of another size; None if it cannot be."""
    try:
        return network_named(model, classes, shape, weights).eval()
    except (GradSiegeError, RuntimeError, ValueError):
        return None


def _answer(network: nn.Module, shape: Shape) -> Any:
    """Return what a network in evaluation mode returns for two pictures, its `.logits` if there are any; None if it fails."""
    some = next(network.parameters(), torch.zeros(1))
    try:
        images = torch.full((2, *shape), 0.5, dtype=some.dtype, device=some.device)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            found = network(images)
    except Exception:  # of the user's own code; a network that fails at every size is refused by the audit, with its error
        return None
    return getattr(found, "logits", found)


def _by_distance(shape: Shape) -> list[int]:
    return sorted(SIDES, key=lambda side: abs(side - min(shape[1:])))
