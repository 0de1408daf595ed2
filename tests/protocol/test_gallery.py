"""A gallery says which images there are, and nothing about which of them are the victims'."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gradsiege import artifacts
from gradsiege.errors import ModelError, ThreatModelError
from gradsiege.images import to_bytes
from gradsiege.models import ModelSpec
from gradsiege.protocol.gallery import DISTRACTORS, gallery_of, order_of, without_order
from gradsiege.protocol.local_update import LocalTraining
from gradsiege.protocol.observation import Observation, load_observation, save_observation
from gradsiege.protocol.threat_model import ThreatModel, strip

SHAPE = (3, 16, 16)
IMAGES = torch.rand(12, *SHAPE, generator=torch.Generator().manual_seed(0))


def observation() -> Observation:
    return Observation.of_updates(
        ModelSpec("lenet", {}, 10, 3, 16),
        {},
        {},
        {"head.weight": torch.zeros(2, 10, 4)},
        LocalTraining("fedsgd", 1, 1, 1, 0.1, "eval"),
    )


def test_the_order_is_a_function_of_the_set() -> None:
    ordered = without_order(IMAGES, SHAPE)
    for seed in range(5):
        shuffled = IMAGES[torch.randperm(12, generator=torch.Generator().manual_seed(seed))]
        assert torch.equal(without_order(shuffled, SHAPE), ordered)
    assert sorted(order_of(IMAGES).tolist()) == list(range(12))
    assert not torch.equal(ordered, IMAGES), "by luck the given order is that of the hashes"


def test_bytes_keep_the_order_and_equal_bytes_are_told_apart() -> None:
    """Floats between two bytes are stored as one of them; neither the order of the others nor theirs may tell the caller's."""
    near = IMAGES[:1] + torch.tensor([0.0, 1e-4, 2e-4]).view(3, 1, 1, 1)
    near = (near.clamp(0, 1) * 255).round() / 255 + torch.tensor([0.0, 1e-4, 2e-4]).view(3, 1, 1, 1)
    mixed = torch.cat([near.clamp(0, 1), IMAGES[1:]])
    ordered = without_order(mixed, SHAPE)
    assert torch.equal(without_order(mixed.flip(0), SHAPE), ordered)
    stored = to_bytes(ordered).float() / 255
    assert torch.equal(without_order(stored, SHAPE), stored)


def test_an_observation_holds_candidates_for_a_threat_model_that_grants_them(
    tmp_path: Path,
) -> None:
    seen = observation().with_candidates(IMAGES)
    assert strip(seen, ThreatModel(id="blind")).candidates is None
    granted = ThreatModel(id="gallery", candidates=True)
    kept = strip(seen, granted).candidates
    assert kept is not None
    assert torch.equal(kept, without_order(IMAGES, SHAPE))
    assert "a gallery that holds the private images" in granted.describe()
    save_observation(tmp_path / "observation.safetensors", seen)
    artifacts.write_manifest(tmp_path, {"status": "complete"}, ["observation.safetensors"])
    again = load_observation(tmp_path / "observation.safetensors").candidates
    assert again is not None
    assert (again - kept).abs().max() <= 0.5 / 255 + 1e-6
    with pytest.raises(ThreatModelError, match="grants candidates, and the observation holds none"):
        strip(observation(), granted)


def test_a_gallery_of_other_images_is_refused() -> None:
    for images, message in (
        (IMAGES[:1], "leaves no choice"),
        (IMAGES[..., 1:], r"shape \[12, 3, 16, 15\]"),
        (IMAGES * 2, "outside"),
        (to_bytes(IMAGES), "give floats"),
        (IMAGES.where(IMAGES < 0.9, torch.nan), "outside"),
    ):
        with pytest.raises(ModelError, match=message):
            without_order(images, SHAPE)


def test_a_study_s_gallery_is_the_victims_and_the_stated_number_of_others() -> None:
    many = torch.zeros(DISTRACTORS + 7, 1, 1, 1)
    gallery = gallery_of(torch.ones(3, 2, 1, 1, 1), many)
    assert gallery.shape == (6 + DISTRACTORS, 1, 1, 1)
    assert gallery[:6].all()
    assert not gallery[6:].any()
