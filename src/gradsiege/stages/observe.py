"""Stage `observe`: let each victim run the client loop once, and split what happened into observation and truth."""

from __future__ import annotations

import torch
from torch import Tensor

from gradsiege import defenses
from gradsiege.defenses.base import Client
from gradsiege.federated.client import train_locally, upload
from gradsiege.federated.diagnostics import explain, save_explanations
from gradsiege.federated.later_rounds import later_rounds, progress_of
from gradsiege.images import load_images
from gradsiege.models import build
from gradsiege.pipeline.cells import shadow_of
from gradsiege.pipeline.jobs import Job
from gradsiege.protocol.checkpoint import load_checkpoint
from gradsiege.protocol.layer_inputs import batch_statistics
from gradsiege.protocol.local_update import LocalTraining, Tensors
from gradsiege.protocol.observation import Observation, finite, save_observation, save_truth
from gradsiege.seeds import torch_generator


def observe(job: Job) -> None:
    """Write ``observation.safetensors`` (what the server sees) and ``truth.safetensors`` (sealed).

    Beside them ``explanation.safetensors`` says, of the first victims, what the defense did to their models.
    """
    cell, study = job.cell, job.study
    checkpoint = load_checkpoint(
        job.input(cell.at("federate"), f"{cell.training_stage}.safetensors")
    )
    entry = study.one("defenses", cell.defense)
    shadow = shadow_of(cell, study)
    pretrained = job.input(shadow, "shadow.safetensors") if shadow else None
    defense = defenses.build(entry.name, entry.parameters, entry.arm, pretrained)
    model = build(checkpoint.model)
    protocol = study.one("protocols", cell.protocol)
    training = LocalTraining(**protocol.training)
    images, labels = _victims(job, protocol.images, protocol.duplicates)
    updates, explanations, statistics, used = [], [], [], []
    clients, uploaded = [], []
    for victim in range(study.victims):
        # Which noise a victim meets depends on no attack, and every attack meets the same noise.
        names = (study.seed, cell.key, "victim", victim)
        client = Client(
            model=model,
            parameters=checkpoint.parameters,
            buffers=checkpoint.buffers,
            images=images[victim],
            labels=labels[victim],
            training=training,
            generator=torch_generator(*names),
            round=checkpoint.round,
            rounds=max(study.federation.rounds, 1),
        )
        trained = train_locally(client, defense)
        sent = upload(*trained, client, defense)
        updates.append(sent[0])
        uploaded.append(sent[1])
        clients.append(client)
        # Of several passes over the images the first.
        used.append(torch.cat(client.trained)[: protocol.images])
        if victim < study.explained:
            explanations.append(explain(client, trained, sent))
        state = {**checkpoint.parameters, **checkpoint.buffers}
        statistics.append(batch_statistics(model.eval(), state, images[victim]))
    update = _stack(updates)
    usable = finite(update)
    seeds = (study.seed, cell.key)
    later = later_rounds(clients, defense, (updates, uploaded), protocol.rounds - 1, seeds)
    for one in later:
        usable &= finite(one.update)
    failures = {
        victim: checkpoint.failure or "the update is not finite"
        for victim in range(study.victims)
        if checkpoint.failure or not usable[victim]
    }
    observation = Observation(
        model=checkpoint.model,
        parameters=checkpoint.parameters,
        buffers=checkpoint.buffers,
        update=update,
        images_per_client=protocol.images,
        training=training,
        disclosure=defense.disclosure(),
        labels=labels,
        failures=failures,
        statistics=_stack(statistics),
        later=later,
        progress=progress_of(clients[0], len(later)),
    )
    if failures:
        job.fail(
            f"{len(failures)} of {study.victims} victims: "
            + "; ".join(sorted(set(failures.values())))
        )
    save_observation(job.path("observation.safetensors"), observation)
    save_truth(job.path("truth.safetensors"), images, labels, torch.stack(used))
    save_explanations(job.path("explanation.safetensors"), explanations)


def _stack(victims: list[Tensors]) -> Tensors:
    return {name: torch.stack([one[name] for one in victims]) for name in victims[0]}


def _victims(job: Job, per_victim: int, duplicates: bool) -> tuple[Tensor, Tensor]:
    images, labels, _ = load_images(job.input(job.cell.at("fetch"), "victims.safetensors"))
    return chosen_victims(images[:], labels, job.study.victims, per_victim, duplicates=duplicates)


def chosen_victims(
    images: Tensor, labels: Tensor, count: int, per_victim: int, *, duplicates: bool
) -> tuple[Tensor, Tensor]:
    """Return images ``[victims, images, c, h, w]`` and labels ``[victims, images]``, always the first of the role.

    The role cycles through the classes, so that batches up to their number hold distinct labels; with `duplicates` the
    same images are dealt class by class, so that labels repeat.
    """
    images, labels = images[: count * per_victim], labels[: count * per_victim]
    if duplicates:
        order = labels.argsort(stable=True)
        images, labels = images[order], labels[order]
    shape = (count, per_victim)
    return images.reshape(*shape, *images.shape[1:]), labels.reshape(shape)
