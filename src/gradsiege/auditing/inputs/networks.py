"""The network of a user: of torchvision, of timm, of the study, or a factory of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from gradsiege import catalogue
from gradsiege.auditing.inputs.named import imported, of_catalogue, parameters
from gradsiege.auditing.inputs.weights import unwrapped
from gradsiege.errors import (
    GradSiegeError,
    MissingError,
    ModelError,
    StudyError,
    UsageError,
    nearest,
)
from gradsiege.models import ModelSpec, build
from gradsiege.models.head import find_head
from gradsiege.seeds import torch_generator

OPTION = "--model"
LIBRARIES = ("torchvision", "timm")


def network_named(
    spec: str,
    classes: int | None,
    image_shape: tuple[int, int, int],
    weights: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    """Return the network of ``torchvision:NAME``, ``timm:NAME``, a study's model name, or ``package.module:factory``.

    Args:
        spec: as on the command line; a study's model takes parameters, ``convnet:width=32``.
        classes: number of classes; None takes that of `weights`, or else the network's own.
        image_shape: channels, height and width of an image.
        weights: of the network by name, whose shapes say the number of classes. They are not loaded.

    Raises:
        UsageError, StudyError: the name is unknown, or the factory fails.
        ModelError: something else than a network.
    """
    if of_catalogue("models", spec):
        return _of_study(spec, classes, image_shape, weights)
    library, _, name = spec.partition(":")
    if library in LIBRARIES:
        return _of_library(library, name, classes, image_shape, weights)
    if ":" not in spec:
        known = [*catalogue.entries("models"), "torchvision:resnet18", "timm:resnet18"]
        raise UsageError(
            f"{OPTION} {spec}: {nearest(spec, known)}; yours is package.module:factory"
        )
    # A factory that draws its weights draws the same ones when an audit goes on; the caller's generator is put back.
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(torch_generator(0, "audit", "network").get_state())
        made = imported(spec, OPTION, [*catalogue.entries("models"), *LIBRARIES])
    if not isinstance(made, nn.Module):
        raise ModelError(f"{OPTION} {spec} is {type(made).__name__}; return a torch.nn.Module")
    return made


def _of_study(
    spec: str,
    classes: int | None,
    image_shape: tuple[int, int, int],
    weights: Mapping[str, Tensor] | None,
) -> nn.Module:
    channels, height, width = image_shape
    if height != width:
        raise ModelError(
            f"{OPTION} {spec} takes square images, not {height} x {width}; give --size"
        )
    name, _, rest = spec.partition(":")
    entry = catalogue.lookup("models", name, OPTION)
    given = entry.validate(parameters(rest, OPTION), OPTION)

    def made(count: int) -> nn.Module:
        described = ModelSpec(name, given, count, channels, height)
        try:
            return build(described, torch_generator(0, "audit", "network"))
        except GradSiegeError:
            raise
        except (ArithmeticError, RuntimeError, ValueError) as error:
            # A layer without any weight: nothing is left of such a picture after the strides.
            raise ModelError(
                f"{OPTION} {spec} cannot be built for pictures of {height} x {width} pixels ({error}); give a larger --size"
            ) from error

    return _of_count(made, classes, image_shape, weights, default=10)


def _of_library(
    library: str,
    name: str,
    classes: int | None,
    image_shape: tuple[int, int, int],
    weights: Mapping[str, Tensor] | None,
) -> nn.Module:
    if library == "timm" and find_spec("timm") is None:
        raise MissingError(
            f"{OPTION} timm:{name}: timm is not installed; pip install timm brings it"
        )
    known = _known(library)
    if name not in known:
        raise UsageError(f"{OPTION} {library}:{name}: {nearest(name, known)}")

    def made(count: int) -> nn.Module:
        # The library draws from the global generator, whose state is put back.
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(torch_generator(0, "audit", "network").get_state())
            return _drawn(library, name, count, image_shape)

    try:
        return _of_count(made, classes, image_shape, weights, default=1000)
    except GradSiegeError:
        raise
    except Exception as error:
        raise ModelError(f"{OPTION} {library}:{name} cannot be built: {error}") from error


def _known(library: str) -> list[str]:
    if library == "timm":
        return list(import_module("timm").list_models())
    import torchvision

    return list(torchvision.models.list_models(module=torchvision.models))


def _drawn(library: str, name: str, count: int, image_shape: tuple[int, int, int]) -> nn.Module:
    """Return a network of a library with random weights; nothing is downloaded."""
    channels, height, width = image_shape
    network: nn.Module
    if library == "timm":
        network = import_module("timm").create_model(
            name, pretrained=False, num_classes=count, in_chans=channels
        )
        return network
    import torchvision

    further: dict[str, Any] = {}
    if name.startswith("vit_"):
        if height != width:
            raise ModelError(
                f"{OPTION} {name} takes square images, not {height} x {width}; give --size"
            )
        further["image_size"] = height
    if name in ("googlenet", "inception_v3"):
        # The auxiliary heads return several outputs in training.
        further |= {"aux_logits": False, "init_weights": True}
    network = torchvision.models.get_model(name, weights=None, num_classes=count, **further)
    return network


def _of_count(
    made: Any,
    classes: int | None,
    image_shape: tuple[int, int, int],
    weights: Mapping[str, Tensor] | None,
    default: int,
) -> nn.Module:
    """Return the network with as many classes as asked for, or as the weights have; refuse it if these differ."""
    wanted = default if classes is None else classes
    network: nn.Module = made(wanted)
    if weights is None:
        return network
    count = _classes_of(network, unwrapped(weights), image_shape)
    if count in (None, wanted):
        return network
    if classes is not None:
        raise UsageError(
            f"--classes is {classes}, and the weights are those of {count} classes; leave --classes out"
        )
    fitting: nn.Module = made(count)
    return fitting


def _classes_of(
    network: nn.Module, weights: Mapping[str, Tensor], image_shape: tuple[int, int, int]
) -> int | None:
    """Return the number of rows that weights have for the head of a network; None if they have no head like it."""
    try:
        head = find_head(
            network, torch.rand(2, *image_shape, generator=torch.Generator().manual_seed(0))
        )
    except (StudyError, RuntimeError, ValueError, AssertionError):
        return None
    tensor = weights.get(head.weight)
    return None if tensor is None else len(tensor)


def channels_of(network: nn.Module) -> int | None:
    """Return the channels of the images that a network takes, from its first convolution; None without one.

    >>> channels_of(nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3)))
    1
    """
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            return part.in_channels
    return None
