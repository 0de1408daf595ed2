"""The one client loop: local training with a defense's hooks, in the utility study and in the privacy study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from gradsiege.defenses.base import Client, Defense
from gradsiege.errors import ModelError
from gradsiege.protocol.local_update import Step, Tensors, local_update


def train_locally(client: Client, defense: Defense) -> tuple[Tensors, Tensors]:
    """Return update and batch-norm buffers after local training, with the hooks of batch and gradient in every step.

    Both by name, each tensor of the shape of its parameter or buffer.
    """
    client = _downloaded(client)

    def on_batch(images: Tensor, labels: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        batch, batch_labels = _pair(defense.transform_batch(images, labels, step, client), defense)
        client.trained.append(batch.detach())
        return batch, batch_labels

    def on_gradient(gradient: Tensors, step: Step) -> Tensors:
        changed = defense.transform_gradient(gradient, step, client)
        return _alike(changed, client.parameters, f"{type(defense).__name__}.transform_gradient")

    return local_update(
        client.model,
        client.parameters,
        client.buffers,
        client.images,
        client.labels,
        client.training,
        transform_batch=on_batch,
        transform_gradient=on_gradient,
    )


def upload(
    update: Tensors, buffers: Tensors, client: Client, defense: Defense
) -> tuple[Tensors, Tensors]:
    """Return the update and the batch-norm buffers that are uploaded, after the hooks of buffers and update.

    Both by name, each tensor of the shape of its parameter or buffer.
    """
    after = _downloaded(replace(client, buffers=buffers))
    name = type(defense).__name__
    uploaded = defense.transform_buffers(dict(after.buffers), update, after)
    uploaded = _alike(uploaded, client.buffers, f"{name}.transform_buffers")
    sent = defense.transform_update(update, after)
    return _alike(sent, client.parameters, f"{name}.transform_update"), uploaded


def run_client(client: Client, defense: Defense) -> tuple[Tensors, Tensors]:
    """Return the update and the batch-norm buffers that are uploaded.

    The hooks run in the order of `gradsiege.defenses.base`: batch and gradient in every local step,
    then buffers and update once.

    Raises:
        ModelError: a hook returns something other than tensors of the names and shapes that it was given, or the defense has none.
    """
    _refuse_idle(defense)
    return upload(*train_locally(client, defense), client, defense)


def _refuse_idle(defense: Defense) -> None:
    """Refuse a defense that changes nothing: a hook whose name is misspelt is never called."""
    hooks = ("wrap_model", *(name for name in vars(Defense) if name.startswith("transform_")))
    if defense.name == Defense.name or any(
        getattr(type(defense), hook) is not getattr(Defense, hook) for hook in hooks
    ):
        return
    own = [
        name for name in vars(type(defense)) if callable(getattr(defense, name)) and name[0] != "_"
    ]
    hint = f"; it has {', '.join(own)}" if own else ""
    raise ModelError(
        f"{type(defense).__name__} defines none of {', '.join(hooks)}, so that it defends nothing{hint}"
    )


def _downloaded(client: Client) -> Client:
    """Return the client with copies of its own of the global state, which a hook may then change in place."""
    return replace(
        client,
        parameters={name: value.clone() for name, value in client.parameters.items()},
        buffers={name: value.clone() for name, value in client.buffers.items()},
    )


def _alike(returned: Any, wanted: Tensors, hook: str) -> Tensors:
    """Return the tensors that a hook returned; refuse others than those of `wanted`, by name and by shape."""
    if not isinstance(returned, Mapping):
        raise ModelError(
            f"{hook} returns {type(returned).__name__}; return a dictionary with a tensor for every name that it was given"
        )
    for name in dict.fromkeys([*wanted, *returned]):
        if name not in returned:
            raise ModelError(f"{hook} returns no {name!r}; return a tensor for every name given")
        if name not in wanted:
            raise ModelError(f"{hook} returns {name!r}, which it was not given; leave it out")
        value, shape = returned[name], list(wanted[name].shape)
        if not isinstance(value, Tensor) or list(value.shape) != shape:
            kind = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ModelError(
                f"{hook} returns {kind} for {name!r}; return a tensor of shape {shape}"
            )
    return dict(returned)


def _pair(returned: Any, defense: Defense) -> tuple[Tensor, Tensor]:
    """Return the batch that a hook returned; refuse anything but as many images as labels."""
    pair = returned if isinstance(returned, tuple | list) else ()
    if (
        len(pair) != 2
        or not all(isinstance(part, Tensor) and part.dim() for part in pair)
        or len(pair[0]) != len(pair[1])
    ):
        raise ModelError(
            f"{type(defense).__name__}.transform_batch returns {type(returned).__name__}; return two tensors of equal length, "
            "(images, labels)"
        )
    return pair[0], pair[1]
