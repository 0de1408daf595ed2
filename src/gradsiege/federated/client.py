"""The one client loop: local training with a defense's hooks, in the utility study and in the privacy study."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from gradsiege.defenses.base import Client, Defense
from gradsiege.protocol.local_update import Step, Tensors, local_update


def run_client(client: Client, defense: Defense) -> tuple[Tensors, Tensors]:
    """Return (the update that is uploaded, the batch-norm buffers after training).

    The hooks run in the order of `gradsiege.defenses.base`: batch and gradient in every local step,
    then the update once.
    """

    def on_batch(images: Tensor, labels: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        batch, batch_labels = defense.transform_batch(images, labels, step, client)
        client.trained.append(batch.detach())
        return batch, batch_labels

    def on_gradient(gradient: Tensors, step: Step) -> Tensors:
        return defense.transform_gradient(gradient, step, client)

    update, buffers = local_update(
        client.model,
        client.parameters,
        client.buffers,
        client.images,
        client.labels,
        client.training,
        transform_batch=on_batch,
        transform_gradient=on_gradient,
    )
    after = replace(client, buffers=buffers)
    return defense.transform_update(update, after), buffers
