"""The one client loop: local training with a defense's hooks, in the utility study and in the privacy study."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from gradsiege.defenses.base import Client, Defense
from gradsiege.protocol.local_update import Step, Tensors, local_update


def train_locally(client: Client, defense: Defense) -> tuple[Tensors, Tensors]:
    """Return update and batch-norm buffers after local training, with the hooks of batch and gradient in every step."""

    def on_batch(images: Tensor, labels: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        batch, batch_labels = defense.transform_batch(images, labels, step, client)
        client.trained.append(batch.detach())
        return batch, batch_labels

    def on_gradient(gradient: Tensors, step: Step) -> Tensors:
        return defense.transform_gradient(gradient, step, client)

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
    """Return the update and the batch-norm buffers that are uploaded, after the hooks of buffers and update."""
    after = replace(client, buffers=buffers)
    uploaded = defense.transform_buffers(buffers, update, after)
    return defense.transform_update(update, after), uploaded


def run_client(client: Client, defense: Defense) -> tuple[Tensors, Tensors]:
    """Return the update and the batch-norm buffers that are uploaded.

    The hooks run in the order of `gradsiege.defenses.base`: batch and gradient in every local step,
    then buffers and update once.
    """
    return upload(*train_locally(client, defense), client, defense)
