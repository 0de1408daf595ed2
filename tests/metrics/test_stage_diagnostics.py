"""Scores of what other stages would have given: assigned stage by stage, best by truth, absent where there is one stage."""

import math
from dataclasses import replace
from pathlib import Path

import torch

from gradsiege import artifacts
from gradsiege.metrics.stages import last_and_best_psnr, psnr_by_stage
from gradsiege.pipeline.cells import cells
from gradsiege.protocol.observation import load_truth
from gradsiege.protocol.reconstruction import load_reconstruction, save_reconstruction
from gradsiege.study import Study


def test_every_stage_is_assigned_by_itself_and_the_best_is_chosen_per_victim() -> None:
    truths = 0.8 * torch.rand(2, 2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    swapped = truths.flip(1)
    # PSNR of a constant error e is -20 log10 e.
    stages = torch.stack([truths + 0.1, swapped + 0.01, truths + 0.001], 1)
    stages[1, 1] = swapped[1] + 0.0001
    found = last_and_best_psnr(psnr_by_stage(stages.double(), truths.double()), 2)
    torch.testing.assert_close(
        found["psnr_last_stage"].float(), torch.full((4,), 60.0), atol=1e-2, rtol=0
    )
    expected = torch.tensor([60.0, 60.0, 80.0, 80.0])
    torch.testing.assert_close(found["psnr_best_stage"].float(), expected, atol=0.1, rtol=0)


def test_a_failed_victim_has_no_number_and_takes_none_from_others() -> None:
    truths = torch.rand(2, 1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    stages = torch.stack([truths * 0.9, truths * 0.8], 1)
    stages[0] = torch.nan
    found = last_and_best_psnr(psnr_by_stage(stages, truths), 1)
    for values in found.values():
        assert values.isnan().tolist() == [True, False]


def test_scores_have_the_diagnostics_of_an_attack_of_several_stages_alone(
    study_copy: tuple[Study, Path], verb: object
) -> None:
    study, root = study_copy
    cell = next(
        one
        for one in cells(study)["score"]
        if (one.defense, one.training_stage) == ("none", "late")
    )
    attacked = next(
        one
        for one in cells(study)["attack"]
        if one.at("score") == cell and one.attack == "inverting_gradients"
    )
    folder = attacked.folder(study, root)
    path = folder / "reconstructions.safetensors"
    found = load_reconstruction(path)
    truths, _, _ = load_truth(cell.at("observe").folder(study, root) / "truth.safetensors")
    stages = torch.stack([truths, found.images], 1)
    found = replace(found, stages=stages, stage_losses=torch.zeros(len(truths), 2))
    manifest = artifacts.read_manifest(folder)
    save_reconstruction(path, found)
    artifacts.write_manifest(
        folder, {name: manifest[name] for name in manifest if name != "files"}, [*manifest["files"]]
    )
    assert callable(verb)
    assert verb("score", cell.key, "--study", root / "tiny.yaml", "--root", root) == 0
    scores = artifacts.read_table(cell.folder(study, root) / "scores.parquet").set_index("attack")
    staged = scores.loc["inverting_gradients"]
    assert (staged["psnr_last_stage"] - staged["psnr"]).abs().max() < 1e-6
    assert (staged["psnr_best_stage"] == math.inf).all()
    assert all(
        list(row) == [math.inf, own]
        for row, own in zip(staged["psnr_by_stage"], staged["psnr"], strict=True)
    )
    others = scores.drop("inverting_gradients")
    assert others["psnr_by_stage"].isna().all()
    assert others[["psnr_last_stage", "psnr_best_stage"]].isna().all().all()
