"""GIFD with two priors as cells of a study: what the study file says reaches the recipe, and its stages reach the scores."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gradsiege import artifacts
from gradsiege.pipeline.cells import cells
from gradsiege.protocol.reconstruction import load_reconstruction
from gradsiege.study import Study


def test_a_study_maps_labels_with_priors_of_another_data_set(
    tiny_raw: dict[str, Any], run_study: Callable[..., Study], tmp_path: Path
) -> None:
    photos = {**tiny_raw["datasets"][0], "name": "photos", "only": {"stage": "prior"}}
    tiny_raw["datasets"].append(photos)
    tiny_raw |= {
        "defenses": ["none"],
        "training_stages": ["untrained"],
        "priors": [
            {
                "name": "staged_gan",
                "dataset": "photos",
                "parameters": {
                    "latent": 4,
                    "width": 4,
                    "discriminator_width": 4,
                    "steps": 2,
                    "batch_size": 4,
                },
            },
            {
                "name": "mapping_classifier",
                "dataset": "photos",
                "parameters": {"width": 4, "epochs": 1},
            },
        ],
        "attacks": [
            {
                "name": "gifd",
                "iterations": 12,
                "prior": ["mapping_classifier", "staged_gan"],
                "parameters": {"label_mapping": "mapped", "stages": 2},
            }
        ],
        "figures": [],
    }
    study = run_study(tiny_raw, tmp_path)
    (cell,) = cells(study)["attack"]
    found = load_reconstruction(cell.folder(study, tmp_path) / "reconstructions.safetensors")
    assert found.stages is not None
    assert found.stages.shape[:2] == (2, 3)
    # A coarse pass of one iteration per stage, then nine shared by the fine stages.
    notes = artifacts.read_manifest(cell.folder(study, tmp_path))["notes"]
    assert notes["evaluations"] == 3 * 2 + 3 * 4
    (scored,) = cells(study)["score"]
    scores = artifacts.read_table(scored.folder(study, tmp_path) / "scores.parquet")
    own = scores[scores["attack"] == "gifd"]
    assert own["psnr_best_stage"].notna().all()
    assert (own["psnr_best_stage"] >= own["psnr_last_stage"]).all()
