"""Stage `score`: the only reader of the truth. It writes one row per victim image, for attacks and controls alike."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from gradsiege import artifacts
from gradsiege.images import load_images, to_bytes
from gradsiege.metrics.controls import CONTROLS
from gradsiege.metrics.deep_features import used_weights
from gradsiege.metrics.measurement import Scene, absent_metrics, measure
from gradsiege.metrics.picture_names import picture_name
from gradsiege.metrics.scoring import Scored, bound, reconstructed
from gradsiege.pipeline import absent_data
from gradsiege.pipeline.cells import Cell, attacks_on
from gradsiege.pipeline.jobs import Job
from gradsiege.protocol.gallery import gallery_of
from gradsiege.protocol.observation import load_truth
from gradsiege.protocol.reconstruction import load_reconstruction
from gradsiege.seeds import torch_generator

PICTURES = "pictures"
EXPLANATION = "explanation"


def score(job: Job) -> None:
    """Write ``scores.parquet`` and ``pictures.safetensors``."""
    truths, labels, trained = load_truth(job.input(job.cell.at("observe"), "truth.safetensors"))
    aux, aux_labels, _ = load_images(job.input(job.cell.at("fetch"), "aux.safetensors"))
    test, _, _ = load_images(job.input(job.cell.at("fetch"), "test.safetensors"))
    scene = Scene(truths, labels, gallery_of(truths, test), test.channel_statistics())
    scored = _controls(job, scene, aux[:], aux_labels)
    if not torch.equal(trained, truths):
        scored.append(bound(trained, scene))
    scored += [_attack(job, cell, scene) for cell in _attacks(job)]
    table = pd.DataFrame([{**_ids(job), **row} for method in scored for row in method.rows()])
    failed = int(((table.kind == "attack") & (table.status == "failed")).sum())
    job.notes = {"failed_rows": failed, "absent": absent_metrics(scene), "weights": used_weights()}
    artifacts.write_table(job.path("scores.parquet"), table)
    pictures = {"truth": to_bytes(truths.flatten(0, 1))}
    pictures |= {
        picture_name(method.attack, method.threat_model): method.pictures() for method in scored
    }
    artifacts.write_tensors(job.path("pictures.safetensors"), pictures, PICTURES)


def _controls(job: Job, scene: Scene, aux: Tensor, aux_labels: Tensor) -> list[Scored]:
    truths, labels = scene.truths.flatten(0, 1), scene.labels.flatten()
    scored = []
    for name, control in CONTROLS.items():
        generator = torch_generator(job.study.seed, job.cell.key, name)
        drawn = control(truths, labels, aux, aux_labels, generator)
        scored.append(Scored(name, "control", measure(drawn.view(scene.truths.shape), scene)))
    return scored


def _attacks(job: Job) -> list[Cell]:
    """Return the attacks on the observation, without those whose prior lacks data that the user must supply."""
    absent = absent_data.absent(job.study, job.root)
    return [
        cell
        for cell in attacks_on(job.cell, job.study)
        if (cell.folder(job.study, job.root) / artifacts.MANIFEST).is_file()
        or not absent_data.waits_for(cell, job.study, absent)
    ]


def _attack(job: Job, cell: Cell, scene: Scene) -> Scored:
    reconstruction = load_reconstruction(job.input(cell, "reconstructions.safetensors"))
    notes = artifacts.read_manifest(cell.folder(job.study, job.root))["notes"]
    products = None
    if reconstruction.kept_channels and job.study.explained:
        path = job.input(job.cell.at("observe"), "explanation.safetensors")
        products, _ = artifacts.read_tensors(path, EXPLANATION)
    cost = {name: notes[name] for name in ("iterations", "restarts", "evaluations")}
    return reconstructed(reconstruction, scene, cell.attack, cell.threat_model, cost, products)


def _ids(job: Job) -> dict[str, Any]:
    names = ("dataset", "model", "defense", "training_stage", "protocol", "seed")
    return {"study": job.study.study, **{name: getattr(job.cell, name) for name in names}}
