"""The normalisation that a network expects: stated by the user, or as its library publishes it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from gradsiege.errors import UsageError

OPTION = "--normalisation"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

Scales = tuple[Sequence[float], Sequence[float]]


def stated(text: str) -> Scales | None:
    """Return mean and standard deviation per channel: ``imagenet``, ``none``, or ``0.5,0.5,0.5/0.2,0.2,0.2``.

    >>> stated("0.5/0.25"), stated("none")
    (([0.5], [0.25]), None)

    Raises:
        UsageError: something else.
    """
    if text == "none":
        return None
    if text == "imagenet":
        return IMAGENET
    try:
        mean, deviation = ([float(value) for value in part.split(",")] for part in text.split("/"))
    except ValueError:
        raise UsageError(
            f"{OPTION} is {text!r}; give imagenet, none, or means and standard deviations, such as 0.5,0.5,0.5/0.2,0.2,0.2"
        ) from None
    return mean, deviation


def of_library(spec: str, network: nn.Module, channels: int) -> Scales | None:
    """Return the normalisation that torchvision or timm publishes for a network of colour pictures; None for all others.

    >>> of_library("torchvision:resnet18", nn.Identity(), 3) == IMAGENET
    True
    """
    library, _, name = spec.partition(":")
    if channels != 3:
        return None
    if library == "torchvision":
        from torchvision.models import get_model_weights

        published = next(iter(get_model_weights(name)), None)
        transforms = published.transforms() if published is not None else None
        if transforms is None:
            return IMAGENET
        return tuple(transforms.mean), tuple(transforms.std)
    if library == "timm":
        published_as = getattr(network, "default_cfg", {}) or {}
        mean, deviation = (
            published_as.get("mean", IMAGENET[0]),
            published_as.get("std", IMAGENET[1]),
        )
        return tuple(mean), tuple(deviation)
    return None
