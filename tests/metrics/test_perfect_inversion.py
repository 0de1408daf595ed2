"""The perfect-inversion bound: what the client really trained on, from the client loop to the score table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gradsiege import artifacts
from gradsiege.defenses.base import Client, Defense
from gradsiege.pipeline.cells import cells
from gradsiege.protocol.local_update import Step
from gradsiege.protocol.observation import load_observation, load_truth
from gradsiege.stages import observe as observe_module
from gradsiege.study import Study, load

Finished = tuple[Study, Path]
Verb = Callable[..., int]
Change = Callable[[Tensor], Tensor]


class Planted(Defense):
    """Change every batch in a known way; the n-th batch of a client n times."""

    def __init__(self, change: Change) -> None:
        self.change = change

    def transform_batch(
        self, images: Tensor, labels: Tensor, step: Step, client: Client
    ) -> tuple[Tensor, Tensor]:
        for _ in range(len(client.trained) + 1):
            images = self.change(images)
        return images, labels


@pytest.fixture
def planted(
    study_copy: Finished, verb: Verb, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Change], tuple[Path, Path]]:
    """A function that observes and scores one cell anew with a planted defense, and returns both folders."""

    def run(change: Change) -> tuple[Path, Path]:
        study, root = study_copy
        monkeypatch.setattr(observe_module.defenses, "build", lambda *_: Planted(change))
        cell = cells(study)["observe"][0]
        for stage in ("observe", "score"):
            assert verb(stage, cell.key, "--study", root / "tiny.yaml", "--root", root) == 0
        return cell.folder(study, root), cell.at("score").folder(study, root)

    return run


def test_the_bound_is_the_distance_of_the_planted_images(
    planted: Callable[[Change], tuple[Path, Path]],
) -> None:
    observed, scored = planted(lambda images: 0.5 * images)
    images, _, trained = load_truth(observed / "truth.safetensors")
    assert torch.equal(trained, 0.5 * images)
    table = artifacts.read_table(scored / "scores.parquet")
    bound = table[table.attack == "perfect_inversion"]
    assert set(bound.kind) == {"bound"}
    assert set(bound.status) == {"complete"}
    assert len(bound) == images.shape[:2].numel()
    squared = (0.5 * images).double().square().mean((2, 3, 4)).flatten()
    assert bound.psnr.tolist() == pytest.approx((-10 * squared.log10()).tolist(), abs=1e-4)
    assert bound.ssim.between(0.1, 0.999).all()
    pictures, _ = artifacts.read_tensors(scored / "pictures.safetensors", "pictures")
    half = (127.5 * images.flatten(0, 1)).round()
    assert (pictures["perfect_inversion"].float() - half).abs().max() <= 1


def test_an_attack_on_what_was_trained_on_is_scored_against_the_private_image(
    planted: Callable[[Change], tuple[Path, Path]],
) -> None:
    """Pixels beyond the range are cut off, as in a picture; a lost image is a failed row, and no number."""

    def shift(images: Tensor) -> Tensor:
        return images + 1

    _, scored = planted(shift)
    table = artifacts.read_table(scored / "scores.parquet")
    bound = table[table.kind == "bound"]
    observed, scored = planted(lambda images: images / 0)
    images, _, _ = load_truth(observed / "truth.safetensors")
    white = -10 * (1 - images.double()).square().mean((2, 3, 4)).flatten().log10()
    assert bound.psnr.tolist() == pytest.approx(white.tolist(), abs=1e-4)
    table = artifacts.read_table(scored / "scores.parquet")
    lost = table[table.kind == "bound"]
    assert set(lost.status) == {"failed"}
    assert "not finite" in lost.reason.iloc[0]
    assert lost.psnr.isna().all()


def test_a_client_that_trains_on_its_own_images_has_no_bound(finished_study: Finished) -> None:
    study, root = finished_study
    for cell in cells(study)["observe"]:
        images, _, trained = load_truth(cell.folder(study, root) / "truth.safetensors")
        assert torch.equal(images, trained)
        table = artifacts.read_table(cell.at("score").folder(study, root) / "scores.parquet")
        assert set(table.kind) == {"control", "attack"}


def test_several_passes_count_by_their_first_and_the_observation_holds_none_of_it(
    study_copy: Finished, verb: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two images one by one, twice: batches 1 and 2, not 3 and 4."""
    _, root = study_copy
    file = root / "tiny.yaml"
    text = file.read_text().replace(
        "protocols:\n- fedsgd\n",
        "protocols:\n- {name: fedavg, images: 2, batch_size: 1, epochs: 2}\n",
    )
    file.write_text(text)
    study = load(file)
    monkeypatch.setattr(observe_module.defenses, "build", lambda *_: Planted(lambda x: 0.5 * x))
    cell = cells(study)["observe"][0]
    assert verb("observe", cell.key, "--study", file, "--root", root) == 0
    folder = cell.folder(study, root)
    images, _, trained = load_truth(folder / "truth.safetensors")
    halves = torch.tensor([0.5, 0.25])[None, :, None, None, None]
    assert torch.equal(trained, halves * images)
    seen = load_observation(folder / "observation.safetensors")
    assert seen.update["body.head.bias"].shape[0] == len(images)
    tensors, _ = artifacts.read_tensors(folder / "observation.safetensors", "observation")
    assert not [name for name in tensors if "trained" in name]
