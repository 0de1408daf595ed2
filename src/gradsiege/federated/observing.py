"""Simulated observations: the client loop on any network and images, without a study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradsiege.defenses.base import Client, Defense
from gradsiege.errors import ModelError
from gradsiege.federated.client import run_client
from gradsiege.models.adapted import adapt
from gradsiege.protocol.arguments import refuse_kinds
from gradsiege.protocol.layer_inputs import batch_statistics
from gradsiege.protocol.local_update import LocalTraining, split_state, with_gradients
from gradsiege.protocol.observation import Observation, stacked
from gradsiege.protocol.recorded import check_classes, training_of, whole_numbers
from gradsiege.protocol.single_values import refuse_single_values
from gradsiege.ranges import shown
from gradsiege.seeds import global_state, torch_generator


@with_gradients()
def observe(
    model: nn.Module,
    images: Any,
    labels: Any,
    defense: Defense | None = None,
    images_per_client: int | None = None,
    training: LocalTraining | None = None,
    normalisation: tuple[Sequence[float], Sequence[float]] | None = None,
    seed: int = 0,
    head: str | None = None,
) -> Observation:
    """Let clients train on private images, and return the server's observation of them.

    Args:
        model: the global network theta_t: any classifier in float32 or float64. It is copied to the CPU, where the clients run, and never
            changed.
        images: ``[n, c, h, w]`` in [0, 1], tensor or array. They are dealt to clients in this order.
        labels: ``[n]``, classes from 0.
        defense: the defense of every client, or None.
        images_per_client: private images of a client; by default those of `training`, and one without it. It must divide n.
        training: local training of a client; by default a single gradient of all its images in evaluation mode.
        normalisation: mean and standard deviation per channel, if `model` expects normalised images.
        seed: seed of all randomness of the clients.
        head: name of the last linear layer, where the logits are not its outputs as they are; by default it is found.

    Returns:
        An observation of n / images_per_client clients. The labels in it are for threat models that grant them.

    Raises:
        ModelError: images, labels and network do not fit each other, or a batch norm is left one value per channel to train on.
    """
    refuse_kinds(seed=seed)
    pictures, classes = as_images(images), _whole_numbers(labels)
    if len(classes) != len(pictures):
        raise ModelError(f"there are {len(pictures)} images and {len(classes)} labels")
    if defense is not None and not isinstance(defense, Defense):
        raise ModelError(
            f"defense is {shown(defense)}; give one defense, such as `gradsiege.defenses.Gaussian(sigma=0.1)`, or None"
        )
    training = training_of(images_per_client, training)
    per_client = training.images
    if len(pictures) % per_client:
        raise ModelError(
            f"{len(pictures)} images cannot be dealt to clients of {per_client}: images_per_client, or the images of "
            "`training`, must divide their number"
        )
    channels, height, width = pictures.shape[1:]
    with global_state(seed, "network"):
        adapted = adapt(model, (channels, height, width), normalisation, head)
    check_classes(classes, adapted.classes)
    defense = defense or Defense()
    parameters, buffers = split_state(adapted.network)
    pictures = pictures.to(next(iter(parameters.values())))
    updates, statistics = [], []
    batches = zip(pictures.split(per_client), classes.split(per_client), strict=True)
    for place, (batch, batch_labels) in enumerate(batches):
        network = adapted.build()
        network.generator = torch_generator(seed, "client", place, "layers")
        client = Client(
            model=network,
            parameters=parameters,
            buffers=buffers,
            images=batch,
            labels=batch_labels,
            training=training,
            generator=torch_generator(seed, "client", place),
        )
        state = {**parameters, **buffers}
        with global_state(seed, "client", place):
            updates.append(run_client(client, defense)[0])
            refuse_single_values(adapted.build(), state, client.trained, training.mode == "train")
            statistics.append(batch_statistics(adapted.build(), state, batch))
    return Observation.of_updates(
        adapted,
        parameters,
        buffers,
        stacked(updates),
        training,
        disclosure=defense.disclosure(),
        labels=classes.reshape(-1, per_client),
        statistics=stacked(statistics),
    )


def as_images(images: Any, name: str = "images") -> Tensor:
    """Return the images as a tensor ``[n, c, h, w]`` in [0, 1]; refuse others with the shape, type or range that they have.

    name: of the argument, for messages.
    """
    try:
        pictures = images if isinstance(images, Tensor) else torch.from_numpy(np.array(images))
    except (TypeError, ValueError):
        raise ModelError(
            f"{name} are {shown(images)}; give numbers [n, channels, height, width] in [0, 1], as a tensor or an array"
        ) from None
    if pictures.layout != torch.strided or pictures.is_meta:
        kind = "have no values" if pictures.is_meta else f"are stored as {pictures.layout}"
        raise ModelError(
            f"{name} {kind}; give a dense tensor of numbers, such as `{name}.to_dense()`"
        )
    if pictures.dim() != 4:
        raise ModelError(
            f"{name} have shape {list(pictures.shape)}; give [n, channels, height, width], one image as {name}[None]"
        )
    if not pictures.numel():
        raise ModelError(
            f"{name} have shape {list(pictures.shape)}, which holds none; give at least one"
        )
    if not pictures.dtype.is_floating_point:
        raise ModelError(
            f"{name} hold {pictures.dtype}; divide bytes by 255 to get numbers in [0, 1]"
        )
    if not bool(pictures.isfinite().all()):
        raise ModelError(f"{name} hold a number that is not finite")
    low, high = float(pictures.min()), float(pictures.max())
    if low < 0 or high > 1:
        raise ModelError(
            f"{name} range from {_digits(low)} to {_digits(high)}; give pixels in [0, 1], and `normalisation` if the network expects "
            "normalised ones"
        )
    # A copy: a defense may change its batch in place, and a tensor made in inference mode has no gradient.
    return pictures.detach().cpu().clone()


def _digits(number: float) -> str:
    """Return a number with three digits, or with as many as show that it lies outside [0, 1].

    >>> _digits(254.66), _digits(1.0000002)
    ('255', '1.0000002')
    """
    few = f"{number:.3g}"
    return few if (0 <= float(few) <= 1) == (0 <= number <= 1) else f"{number:.9g}"


def _whole_numbers(labels: Any) -> Tensor:
    numbers = whole_numbers(labels)
    if numbers.dim() != 1 or numbers.dtype.is_floating_point:
        raise ModelError(
            f"labels have shape {list(numbers.shape)} and type {numbers.dtype}; give one whole number per image, [n]"
        )
    return numbers.long()
