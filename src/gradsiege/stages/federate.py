"""Stage `federate`: train with a defense, record utility per round, keep the three checkpoints."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gradsiege import artifacts, defenses
from gradsiege.federated.cost import Cost
from gradsiege.federated.normalisation import set_normalisation
from gradsiege.federated.partition import dirichlet, iid, sizes
from gradsiege.federated.progress import Progress
from gradsiege.federated.server import evaluate
from gradsiege.federated.training import run_round
from gradsiege.images import load_images
from gradsiege.models import ModelSpec, build
from gradsiege.pipeline.cells import shadow_of
from gradsiege.pipeline.jobs import Job
from gradsiege.progress import track
from gradsiege.protocol.checkpoint import Checkpoint, save_checkpoint
from gradsiege.protocol.local_update import Tensors, split_state
from gradsiege.seeds import numpy_generator, torch_generator


def federate(job: Job) -> None:
    """Train and write ``untrained``, ``early`` and ``late`` checkpoints and the utility table."""
    cell, study = job.cell, job.study
    fetch = cell.at("fetch")
    images, labels, classes = load_images(job.input(fetch, "train.safetensors"))
    test_images, test_labels, _ = load_images(job.input(fetch, "test.safetensors"))
    test = test_images[:], test_labels
    chosen = study.one("models", cell.model)
    entry = study.one("defenses", cell.defense)
    shadow = shadow_of(cell, study)
    pretrained = job.input(shadow, "shadow.safetensors") if shadow else None
    defense = defenses.build(entry.name, entry.parameters, entry.arm, pretrained)
    undefended = ModelSpec(chosen.name, chosen.parameters, len(classes), *images.shape[1:3])
    spec = defense.wrap_model(undefended)
    # The initial weights do not depend on the defense, so that all defenses start alike.
    start = torch_generator(study.seed, cell.dataset, cell.model, cell.seed, "initial weights")
    model = build(spec, start)
    set_normalisation(model, images, f"{cell.stage} {cell.key}")
    progress = _resume(job) or Progress(*split_state(model))
    untrained = split_state(model)
    shares = _partition(job, labels.numpy())
    federation, seeds = study.federation, (study.seed, cell.dataset, cell.seed)
    if not progress.rows:
        progress.record(0, evaluate(model, *untrained, *test))
    for number in track(
        range(progress.round, federation.rounds), federation.rounds, "federate", progress.round
    ):
        if progress.failure:
            break
        if job.should_stop():
            _save(job, progress)
            job.interrupt()
        with Cost() as cost:
            run_round(progress, number, model, defense, (images, labels), shares, federation, seeds)
        spent = {"seconds": cost.seconds, "peak_memory": cost.peak_memory}
        progress.costs.append({"round": number + 1, **spent})
        if not progress.failure:
            measured = evaluate(model, progress.parameters, progress.buffers, *test)
            progress.record(number + 1, measured)
        if number + 1 == federation.early_round:
            progress.early = (progress.parameters, progress.buffers)
        _save(job, progress)
    _write(job, spec, untrained, progress)


def _partition(job: Job, labels: np.ndarray) -> list[np.ndarray]:
    cell, federation = job.cell, job.study.federation
    generator = numpy_generator(job.study.seed, cell.dataset, cell.seed, "partition")
    if federation.partition == "iid":
        return iid(labels, federation.clients, generator)
    if federation.partition == "sizes":
        return sizes(labels, federation.client_images, generator)
    return dirichlet(labels, federation.clients, federation.alpha, generator)


def _save(job: Job, progress: Progress) -> None:
    job.save_progress(*progress.packed())


def _resume(job: Job) -> Progress | None:
    saved = job.load_progress()
    return None if saved is None else Progress.unpacked(*saved)


def _write(
    job: Job, spec: ModelSpec, untrained: tuple[Tensors, Tensors], progress: Progress
) -> None:
    cell, federation = job.cell, job.study.federation
    late = (progress.parameters, progress.buffers)
    stages = {
        "untrained": (untrained, 0, ""),
        "early": (
            progress.early or late,
            federation.early_round,
            "" if progress.early else progress.failure,
        ),
        "late": (late, federation.rounds, progress.failure),
    }
    for name, (state, number, failure) in stages.items():
        checkpoint = Checkpoint(spec, *state, number, failure)
        save_checkpoint(job.path(f"{name}.safetensors"), checkpoint)
    if progress.failure:
        job.fail(progress.failure)
        progress.record_failure(federation.rounds)
    # Times are not in the table, since the table must have the same bytes on every run.
    job.notes = {"rounds": progress.costs}
    table = pd.DataFrame(progress.rows)
    for place, name in enumerate(("dataset", "model", "defense", "seed")):
        table.insert(place, name, getattr(cell, name))
    table.insert(0, "study", job.study.study)
    artifacts.write_table(job.path("utility.parquet"), table)
