"""Stage `federate`: train with a defense, record utility per round, keep the three checkpoints."""

from __future__ import annotations

import pandas as pd
from torch import Tensor, nn

from gradsiege import artifacts, defenses
from gradsiege.defenses.base import Defense
from gradsiege.federated.normalisation import set_normalisation
from gradsiege.federated.partition import partition
from gradsiege.federated.progress import Progress
from gradsiege.federated.server import evaluate
from gradsiege.federated.training import measured_round
from gradsiege.images import StoredImages, load_images
from gradsiege.models import ModelSpec, build
from gradsiege.pipeline.cells import shadow_of
from gradsiege.pipeline.jobs import Job
from gradsiege.pipeline.stage import STAGES
from gradsiege.progress import track
from gradsiege.protocol.checkpoint import Checkpoint, save_checkpoint
from gradsiege.protocol.local_update import Tensors, split_state
from gradsiege.seeds import numpy_generator, torch_generator


def federate(job: Job) -> None:
    """Train and write ``untrained``, ``early`` and ``late`` checkpoints and the utility table."""
    cell, study = job.cell, job.study
    images, labels, classes = load_images(job.input(cell.at("fetch"), "train.safetensors"))
    test_images, test_labels, _ = load_images(job.input(cell.at("fetch"), "test.safetensors"))
    test = test_images[:], test_labels
    defense = _defense(job)
    chosen = study.one("models", cell.model)
    shape = (len(classes), *images.shape[1:3])
    spec = defense.wrap_model(ModelSpec(chosen.name, chosen.parameters, *shape))
    # The initial weights do not depend on the defense, so that all defenses start alike.
    start = torch_generator(study.seed, cell.dataset, cell.model, cell.seed, "initial weights")
    model = build(spec, start)
    set_normalisation(model, images, f"{cell.stage} {cell.key}")
    untrained = split_state(model)
    progress = _resume(job) or Progress(*split_state(model))
    if not progress.rows:
        progress.record(0, evaluate(model, *untrained, *test))
    _train(job, progress, model, defense, (images, labels), test)
    _write(job, spec, untrained, progress)


def _defense(job: Job) -> Defense:
    entry, shadow = job.study.one("defenses", job.cell.defense), shadow_of(job.cell, job.study)
    pretrained = job.input(shadow, "shadow.safetensors") if shadow else None
    return defenses.build(entry.name, entry.parameters, entry.arm, pretrained)


def _train(
    job: Job,
    progress: Progress,
    model: nn.Module,
    defense: Defense,
    data: tuple[StoredImages, Tensor],
    test: tuple[Tensor, Tensor],
) -> None:
    """Train the rounds that are left; a failure ends them."""
    study, federation = job.study, job.study.federation
    seeds = (study.seed, job.cell.dataset, job.cell.seed)
    shares = partition(data[1].numpy(), federation, numpy_generator(*seeds, "partition"))
    first, rounds = progress.round, federation.rounds
    for number in track(range(first, rounds), rounds, "federate", first):
        if progress.failure:
            break
        if job.should_stop():
            _save(job, progress)
            job.interrupt()
        measured_round(progress, number, model, defense, data, test, shares, federation, seeds)
        _save(job, progress)


def _save(job: Job, progress: Progress) -> None:
    job.save_progress(*progress.packed())


def _resume(job: Job) -> Progress | None:
    saved = job.load_progress()
    return None if saved is None else Progress.unpacked(*saved)


def _write(
    job: Job, spec: ModelSpec, untrained: tuple[Tensors, Tensors], progress: Progress
) -> None:
    rounds, early_round = job.study.federation.rounds, job.study.federation.early_round
    for name, reached in progress.training_stages(untrained, early_round, rounds).items():
        checkpoint = Checkpoint(spec, *reached.state, reached.round, reached.failure)
        save_checkpoint(job.path(f"{name}.safetensors"), checkpoint)
    if progress.failure:
        job.fail(progress.failure)
        progress.record_failure(rounds)
    # Times are not in the table, since the table must have the same bytes on every run.
    job.notes = {"rounds": progress.costs}
    ids = {name: getattr(job.cell, name) for name in STAGES["federate"].fields}
    table = pd.DataFrame([{"study": job.study.study, **ids, **row} for row in progress.rows])
    artifacts.write_table(job.path("utility.parquet"), table)
