"""Updates that were recorded elsewhere, by another server or on the network, as an observation holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from gradsiege.errors import ModelError, nearest
from gradsiege.models.adapted import AdaptedModel, adapt
from gradsiege.models.names import BODY, given_name
from gradsiege.protocol.disclosure import checked
from gradsiege.protocol.local_update import LocalTraining, Tensors, split_state, with_gradients
from gradsiege.protocol.single_values import refuse_single_values
from gradsiege.ranges import shown

Unit = Literal["gradient", "difference"]
Update = Mapping[str, Any] | Sequence[Any]


@with_gradients()
def recorded(
    model: nn.Module,
    update: Update,
    image_shape: tuple[int, int, int],
    images_per_client: int | None = None,
    training: LocalTraining | None = None,
    normalisation: tuple[Sequence[float], Sequence[float]] | None = None,
    labels: Any = None,
    disclosure: dict[str, Any] | None = None,
    unit: Unit = "gradient",
    head: str | None = None,
) -> dict[str, Any]:
    """Return the arguments of `Observation.of_updates` for a network and the recorded updates of one or several clients.

    Arguments and errors are those of `gradsiege.Observation.of`.
    """
    if unit not in get_args(Unit):
        raise ModelError(f"unit is {unit!r}; choose one of {', '.join(get_args(Unit))}")
    if unit == "difference" and training is None:
        raise ModelError(
            "a difference is divided by the learning rate of the clients, which is not given: give `training`"
        )
    adapted = adapt(model, image_shape, normalisation, head)
    parameters, buffers = split_state(adapted.network)
    training = training_of(images_per_client, training)
    disclosure = checked(disclosure)
    named = _by_name(update, parameters, buffers)
    clients = _clients(named, parameters)
    if unit == "difference":
        named = {name: value / -training.learning_rate for name, value in named.items()}
    shaped = {
        name: named[name].reshape(clients, *value.shape).to(value.dtype)
        for name, value in parameters.items()
        if name in named
    }
    _refuse_lone_image(adapted, parameters, buffers, training)
    return {
        "model": adapted,
        "parameters": parameters,
        "buffers": buffers,
        "update": shaped,
        "training": training,
        "disclosure": disclosure,
        "labels": _labels(labels, clients, training.images, adapted),
    }


def _refuse_lone_image(
    adapted: AdaptedModel, parameters: Tensors, buffers: Tensors, training: LocalTraining
) -> None:
    """Refuse a protocol by which a batch norm trains on one value per channel, as `gradsiege.observe` does."""
    if 1 in (training.batch_size, training.images % training.batch_size):
        like = next(iter(parameters.values()))
        image = torch.full((1, *adapted.image_shape), 0.5, dtype=like.dtype)
        state = {**parameters, **buffers}
        refuse_single_values(adapted.build(), state, [image], training.mode == "train")


def training_of(images: int | None, training: LocalTraining | None) -> LocalTraining:
    """Return the local training, by default one gradient of all images; refuse other arguments.

    >>> training_of(None, LocalTraining("fedavg", 4, 2, 1, 0.1, "eval")).images, training_of(2, None).images
    (4, 2)

    Raises:
        ModelError: an argument is of another kind, or `images` is not the number of images of `training`.
    """
    if training is not None and not isinstance(training, LocalTraining):
        raise ModelError(f"training is {training!r}; give a `gradsiege.LocalTraining`, or None")
    if images is not None and (not isinstance(images, int) or images < 1):
        raise ModelError(f"images_per_client is {shown(images)}; give a whole number, at least 1")
    if training is None:
        images = images or 1
        return LocalTraining("fedsgd", images, images, 1, 1.0, "eval")
    if images is not None and images != training.images:
        raise ModelError(
            f"images_per_client is {images}, and `training` is of images={training.images}; give both the same number, or "
            "leave images_per_client out"
        )
    return training


def _tensor(value: Any, name: str) -> Tensor:
    """Return an array or tensor as a tensor on the CPU."""
    try:
        tensor = value if isinstance(value, Tensor) else torch.from_numpy(np.asarray(value))
    except TypeError as error:
        raise ModelError(
            f"the update of {name} is not an array of numbers but {type(value).__name__}"
        ) from error
    if not tensor.dtype.is_floating_point:
        raise ModelError(f"the update of {name} holds {tensor.dtype}, not floating-point numbers")
    return tensor.detach().cpu().clone()


def _by_name(update: Update, parameters: Tensors, buffers: Tensors) -> Tensors:
    """Return the update by the names of the adapted network's parameters."""
    known = [given_name(name) for name in parameters]
    if not isinstance(update, Mapping | Sequence) or isinstance(update, str):
        raise ModelError(
            f"the update is {type(update).__name__}: give a mapping from names of parameters to tensors, or a list of tensors"
        )
    if not isinstance(update, Mapping) and update and all(map(_is_pair, update)):
        update = dict(update)
    if not isinstance(update, Mapping):
        if len(update) != len(known):
            raise ModelError(
                f"the update is a list of {len(update)} tensors, and the network has {len(known)} trained parameters: give one "
                "for each, in the order of model.named_parameters(), or a mapping from names"
            )
        update = dict(zip(known, update, strict=True))
    # A network may have a layer called ``body`` itself, so all names together say whose names they are.
    if any(name not in known for name in update) and all(name in parameters for name in update):
        update = {given_name(name): value for name, value in update.items()}
    _refuse_unknown(list(update), known, [given_name(name) for name in buffers])
    if not update:
        raise ModelError("the update is empty: give the update of at least one trained parameter")
    return {BODY + name: _tensor(value, name) for name, value in update.items()}


def _is_pair(entry: Any) -> bool:
    """Return whether an entry of a list is a name with its tensor, as ``model.named_parameters()`` gives them."""
    return isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str)


def _refuse_unknown(names: list[Any], known: list[str], untrained: list[str]) -> None:
    """Refuse names that are not of trained parameters; buffers and frozen parameters, which a state_dict holds, as such."""
    left = [name for name in names if name in untrained]
    if left:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        raise ModelError(
            f"the update holds {left[0]!r}{more}, which clients do not train: leave out buffers and frozen parameters, and keep "
            "those of model.named_parameters() that require a gradient"
        )
    for name in names:
        if name not in known:
            raise ModelError(
                f"the update holds {name!r}, which is not a trained parameter of the network; {nearest(str(name), known)}"
            )


def _clients(named: Tensors, parameters: Tensors) -> int:
    """Return the number of clients; refuse an update whose tensors disagree on it."""
    counts: dict[str, int] = {}
    for name, value in named.items():
        shape = parameters[name].shape
        if value.shape == shape:
            counts[name] = 1
        elif value.shape[1:] == shape:
            counts[name] = len(value)
        else:
            raise ModelError(
                f"the update of {given_name(name)!r} has shape {list(value.shape)}, and the parameter has {list(shape)}: "
                "give that shape, or one more dimension in front for several clients"
            )
    if len(set(counts.values())) > 1 or 0 in counts.values():
        raise ModelError(
            "the tensors of the update are of different numbers of clients: "
            + ", ".join(f"{given_name(name)} {count}" for name, count in counts.items())
        )
    return next(iter(counts.values()))


def _labels(labels: Any, clients: int, images: int, model: AdaptedModel) -> Tensor | None:
    """Return the labels as ``[clients, images]``."""
    if labels is None:
        return None
    given = whole_numbers(labels)
    if not given.dim() or given.numel() != clients * images or given.dtype.is_floating_point:
        raise ModelError(
            f"labels have shape {list(given.shape)} and type {given.dtype}; {clients} clients with {images} images each "
            f"have {clients * images} whole numbers"
        )
    check_classes(given, model.classes)
    return given.reshape(clients, images).long()


def whole_numbers(labels: Any) -> Tensor:
    """Return labels as a tensor on the CPU; refuse what holds no numbers.

    labels: of any shape, which the result has.
    """
    try:
        given = labels if isinstance(labels, Tensor) else torch.as_tensor(np.asarray(labels))
    except (TypeError, ValueError):
        raise ModelError(
            f"labels are {shown(labels)}; give one whole number per image, the index of its class from 0"
        ) from None
    return given.detach().cpu()


def check_classes(labels: Tensor, classes: int) -> None:
    """Refuse a label that is not a class of the network.

    labels: integers, of any shape.
    """
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise ModelError(
            f"label {int(wrong.flatten()[0])} is out of range: the network has {classes} classes, 0 to {classes - 1}"
        )
