"""Stage `score`: the only reader of the truth. It writes one row per victim image, for attacks and controls alike."""

from __future__ import annotations

from math import nan
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from gradsiege import artifacts
from gradsiege.images import load_images, to_bytes
from gradsiege.metrics import deep_features
from gradsiege.metrics.absent import Absent
from gradsiege.metrics.controls import CONTROLS
from gradsiege.metrics.gradient_level import gradient_level
from gradsiege.metrics.labels import label_accuracy
from gradsiege.metrics.measurement import Measured, Scene, absent_metrics, measure
from gradsiege.metrics.stages import last_and_best_psnr, psnr_by_stage
from gradsiege.pipeline import absent_data
from gradsiege.pipeline.cells import Cell, attacks_on
from gradsiege.pipeline.jobs import Job
from gradsiege.protocol.observation import load_truth
from gradsiege.protocol.reconstruction import load_reconstruction
from gradsiege.seeds import torch_generator

PICTURES = "pictures"
EXPLANATION = "explanation"
BOUND = "perfect_inversion"
GALLERY_DISTRACTORS = 500
# Columns that only attacks of several stages fill.
STAGES = ("psnr_last_stage", "psnr_best_stage")
# The same, a list with one number per stage in each row.
BY_STAGE = ("psnr_by_stage", "matching_loss_by_stage")


def score(job: Job) -> None:
    """Write ``scores.parquet`` and ``pictures.safetensors``."""
    fetch = job.cell.at("fetch")
    truths, labels, trained = load_truth(job.input(job.cell.at("observe"), "truth.safetensors"))
    aux_images, aux_labels, _ = load_images(job.input(fetch, "aux.safetensors"))
    aux = aux_images[:]
    test, _, _ = load_images(job.input(fetch, "test.safetensors"))
    gallery = torch.cat([truths.flatten(0, 1), test[:GALLERY_DISTRACTORS]])
    scene = Scene(truths, labels, gallery)
    pictures = {"truth": to_bytes(truths.flatten(0, 1))}
    rows: list[dict[str, Any]] = []
    for name, control in CONTROLS.items():
        generator = torch_generator(job.study.seed, job.cell.key, name)
        drawn = control(truths.flatten(0, 1), labels.flatten(), aux, aux_labels, generator)
        measured = measure(drawn.view(truths.shape), scene)
        rows += _rows(measured, {"attack": name, "kind": "control", "threat_model": ""})
        pictures[name] = to_bytes(measured.images)
    if not torch.equal(trained, truths):
        measured, extra = _score_bound(trained, scene)
        rows += _rows(measured, extra)
        pictures[BOUND] = to_bytes(torch.nan_to_num(measured.images, 0.0))
    for cell in _attacks(job):
        measured, extra = _score_attack(job, cell, scene)
        of_attack = _rows(measured, extra)
        if extra["gradient_level"]:
            # Write a column only if it has values.
            for place, row in enumerate(of_attack):
                row |= {k: float(v[place]) for k, v in extra["gradient_level"].items()}
        rows += of_attack
        several = len(job.study.threat_models) > 1
        name = f"{cell.threat_model}/{cell.attack}" if several else cell.attack
        pictures[name] = to_bytes(torch.nan_to_num(measured.images, 0.0, 1.0, 0.0))
    table = pd.DataFrame([{**_ids(job), **row} for row in rows])
    failed = int(((table.kind == "attack") & (table.status == "failed")).sum())
    job.notes = {"failed_rows": failed, "absent": absent_metrics(scene), "weights": used_weights()}
    artifacts.write_table(job.path("scores.parquet"), table)
    artifacts.write_tensors(job.path("pictures.safetensors"), pictures, PICTURES)


def _attacks(job: Job) -> list[Cell]:
    """Return the attacks on the observation, without those whose prior lacks data that the user must supply."""
    absent = absent_data.absent(job.study, job.root)
    return [
        cell
        for cell in attacks_on(job.cell, job.study)
        if (cell.folder(job.study, job.root) / artifacts.MANIFEST).is_file()
        or not absent_data.waits_for(cell, job.study, absent)
    ]


def used_weights() -> dict[str, str]:
    """Return the SHA-256 of the file of each network that LPIPS used here."""
    loaded = {trunk: deep_features.load(trunk) for trunk in deep_features.HEADS}
    return {
        trunk: features.convolutions.sha256
        for trunk, features in loaded.items()
        if not isinstance(features, Absent)
    }


def _score_bound(trained: Tensor, scene: Scene) -> tuple[Measured, dict[str, Any]]:
    """Measure a perfect inversion, which returns exactly the images that the client trained on: an upper bound for attacks.

    It is scored where the defense transforms the batch. Pixels are clipped to [0, 1], as in every picture.
    """
    finite = trained.isfinite().flatten(1).all(1)
    reason = "the images that the client trained on are not finite"
    failures = {victim: reason for victim in range(len(trained)) if not finite[victim]}
    extra = {"attack": BOUND, "kind": "bound", "threat_model": "", "failures": failures}
    return measure(trained.clamp(0, 1), scene), extra


def _score_attack(job: Job, cell: Cell, scene: Scene) -> tuple[Measured, dict[str, Any]]:
    reconstruction = load_reconstruction(job.input(cell, "reconstructions.safetensors"))
    manifest = artifacts.read_manifest(cell.folder(job.study, job.root))
    images = reconstruction.images.clone()
    images[list(reconstruction.failures)] = torch.nan
    diagnostics: dict[str, Tensor] = {}
    if reconstruction.stages is not None and reconstruction.stage_losses is not None:
        stages, count = reconstruction.stages.clone(), scene.truths.shape[1]
        stages[list(reconstruction.failures)] = torch.nan
        by_stage = psnr_by_stage(stages, scene.truths)
        losses = reconstruction.stage_losses.repeat_interleave(count, 0)
        diagnostics = {"psnr_by_stage": by_stage, "matching_loss_by_stage": losses}
        diagnostics |= last_and_best_psnr(by_stage, count)
    level: dict[str, Tensor] = {}
    if reconstruction.kept and job.study.explained:
        path = job.input(job.cell.at("observe"), "explanation.safetensors")
        explained, _ = artifacts.read_tensors(path, EXPLANATION)
        victims, count = scene.labels.shape
        level = gradient_level(explained, reconstruction.kept, victims, count)
    extra = {
        "attack": cell.attack,
        "gradient_level": level,
        "kind": "attack",
        "threat_model": cell.threat_model,
        "iterations": manifest["notes"]["iterations"],
        "restarts": manifest["notes"]["restarts"],
        "evaluations": manifest["notes"]["evaluations"],
        "failures": reconstruction.failures,
        "matching_loss": reconstruction.matching_loss.tolist(),
        "label_accuracy": label_accuracy(reconstruction.labels, scene.labels).tolist(),
        "diagnostics": diagnostics,
    }
    return measure(images, scene), extra


def _rows(measured: Measured, extra: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per victim image; per-victim lists in `extra` are spread over the rows."""
    labels = measured.scene.labels
    failures, diagnostics = extra.get("failures", {}), extra.get("diagnostics")
    rows = []
    for place in range(len(measured.images)):
        victim, image = divmod(place, labels.shape[1])
        rank = int(measured.ranks[place])
        rows.append(
            {
                "threat_model": extra["threat_model"],
                "attack": extra["attack"],
                "kind": extra["kind"],
                "victim": victim,
                "image": image,
                "label": int(labels[victim, image]),
                "status": "failed" if victim in failures else "complete",
                "reason": failures.get(victim, ""),
                "matching_loss": extra["matching_loss"][victim]
                if "matching_loss" in extra
                else None,
                "label_accuracy": extra["label_accuracy"][victim]
                if "label_accuracy" in extra
                else None,
                **{name: float(values[place]) for name, values in measured.numbers.items()},
                **{
                    name: float(diagnostics[name][place]) if diagnostics else nan for name in STAGES
                },
                **{
                    name: diagnostics[name][place].tolist() if diagnostics else None
                    for name in BY_STAGE
                },
                "rank": rank,
                "rank_lpips": nan
                if measured.perceptual_ranks is None
                else float(measured.perceptual_ranks[place]),
                "gallery_size": len(measured.scene.gallery),
                "identified": rank == 1,
                "iterations": extra.get("iterations", 0),
                "restarts": extra.get("restarts", 0),
                "evaluations": extra.get("evaluations", 0),
            }
        )
    return rows


def _ids(job: Job) -> dict[str, Any]:
    names = ("dataset", "model", "defense", "training_stage", "protocol", "seed")
    return {"study": job.study.study, **{name: getattr(job.cell, name) for name in names}}
