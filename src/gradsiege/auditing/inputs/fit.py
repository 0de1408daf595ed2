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


def outputs_of(network: nn.Module, shape: Shape) -> int | None:
    """Return the number of a network's logits; None if it returns none, of which an audit then complains.

    shape: channels, height and width of a picture.

    Raises:
        ModelError: the network takes pictures of another size, which is named.
    """
    logits = _answer(network, shape)
    if logits is None:
        sides = [side for side in SIDES if _answer(network, (shape[0], side, side)) is not None]
        if sides:
            raise ModelError(
                f"{type(network).__name__} does not take pictures of {shape[1]} x {shape[2]} pixels; give --size {_nearest(sides, shape)}, "
                "which it takes"
            )
        return None
    return logits.shape[1] if isinstance(logits, Tensor) and logits.dim() == 2 else None


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
    if not (of_catalogue("models", model) or model.startswith("torchvision:vit_")):
        return
    given = unwrapped(weights)

    def fits(side: int) -> bool:
        try:
            made = network_named(model, classes, (shape[0], side, side), weights).state_dict()
        except (GradSiegeError, RuntimeError, ValueError):
            return False
        return all(
            name in made and made[name].shape == value.shape for name, value in given.items()
        )

    side = None if fits(shape[1]) else next(filter(fits, _by_distance(shape)), None)
    if side is not None:
        raise ModelError(
            f"{source} are those of {model} for other pictures than {shape[1]} x {shape[2]} pixels; give --size {side}, which they fit"
        )


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


def _nearest(sides: list[int], shape: Shape) -> int:
    return next(side for side in _by_distance(shape) if side in sides)


def _by_distance(shape: Shape) -> list[int]:
    return sorted(SIDES, key=lambda side: abs(side - min(shape[1:])))
