"""Retrieval by LPIPS: the ranks that pairwise LPIPS gives, one pass over the gallery, and absence with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from trunks import as_torchvision

from gradsiege import pretrained
from gradsiege.metrics import measurement
from gradsiege.metrics.absent import Absent
from gradsiege.metrics.deep_features import DeepFeatures
from gradsiege.metrics.perceptual import lpips
from gradsiege.metrics.perceptual_gallery import SIDE, PerceptualGallery

GALLERY = 9


@pytest.fixture
def gallery(large: Tensor) -> Tensor:
    """Nine different patches of photographs, float64 [9, 3, 32, 32]."""
    corners = [(20 * number, 15 * number) for number in range(8)] + [(160, 0)]
    return torch.stack(
        [large[n % 4, :, y : y + 32, x : x + 32] for n, (y, x) in enumerate(corners)]
    )


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A random AlexNet in place of the published one."""
    folder = as_torchvision(tmp_path, monkeypatch, "alex").parent
    monkeypatch.setenv(pretrained.VARIABLE, str(folder))
    return folder


def disturbed(images: Tensor) -> Tensor:
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(0), dtype=images.dtype)
    return (0.4 * images + 0.6 * noise).clamp(0, 1)


def ranked(gallery: PerceptualGallery, images: Tensor, index: Tensor) -> Tensor:
    found = gallery.ranks(images, index)
    assert isinstance(found, Tensor), found
    return found


def test_ranks_are_those_of_pairwise_lpips(weights: Path, gallery: Tensor) -> None:
    seen, index = disturbed(gallery), torch.arange(GALLERY)
    expected = []
    for number in range(GALLERY):
        distances = lpips(seen[number].expand(gallery.shape), gallery)
        assert isinstance(distances, Tensor)
        expected.append(int((distances <= distances[number] + 1e-6).sum()))
    assert max(expected) > 1
    ranks = ranked(PerceptualGallery(gallery), seen, index)
    assert ranks.dtype == torch.int64
    assert ranks.tolist() == expected


def test_the_victim_has_rank_one_and_ties_count_against_the_attacker(
    weights: Path, gallery: Tensor
) -> None:
    index = torch.arange(GALLERY)
    assert ranked(PerceptualGallery(gallery), gallery, index).tolist() == [1] * GALLERY
    twice = torch.cat([gallery, gallery[:1]])
    assert ranked(PerceptualGallery(twice), gallery[:2], index[:2]).tolist() == [2, 1]


def test_a_failed_reconstruction_has_the_last_rank(weights: Path, gallery: Tensor) -> None:
    seen = gallery[:3].clone()
    seen[1] = torch.nan
    found = PerceptualGallery(gallery)
    assert ranked(found, seen, torch.arange(3)).tolist() == [1, GALLERY, 1]
    assert ranked(found, seen[1:2], torch.tensor([1])).tolist() == [GALLERY]


def test_large_images_are_averaged_down(weights: Path, large: Tensor) -> None:
    seen, index = disturbed(large), torch.arange(4)
    small = [torch.nn.functional.adaptive_avg_pool2d(x, (SIDE, SIDE)) for x in (large, seen)]
    expected = ranked(PerceptualGallery(small[0]), small[1], index)
    assert torch.equal(ranked(PerceptualGallery(large), seen, index), expected)
    assert PerceptualGallery(large).rows.shape == PerceptualGallery(small[0]).rows.shape


def test_distractors_pass_through_the_network_once_in_a_process(
    weights: Path, gallery: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second observation has victims of its own and the same distractors."""
    index = torch.arange(2)
    other = torch.cat([disturbed(gallery[:2]), gallery[2:]])
    expected = ranked(PerceptualGallery(other), gallery[:2], index)
    ranked(PerceptualGallery(gallery, 2), gallery[:2], index)
    passed: list[int] = []
    taps = DeepFeatures.taps

    def counted(self: DeepFeatures, images: Tensor) -> list[Tensor]:
        passed.append(len(images))
        return taps(self, images)

    monkeypatch.setattr(DeepFeatures, "taps", counted)
    assert torch.equal(ranked(PerceptualGallery(other, 2), gallery[:2], index), expected)
    assert passed == [2, 2]
    passed.clear()
    first = lpips(disturbed(gallery), gallery)
    second = lpips(disturbed(gallery), gallery)
    assert passed == [GALLERY] * 3
    assert isinstance(first, Tensor)
    assert isinstance(second, Tensor)
    assert torch.equal(first, second)


def test_galleries_that_cannot_be_ranked_are_refused(weights: Path, gallery: Tensor) -> None:
    with pytest.raises(ValueError, match="leaves the gallery of 9 images"):
        PerceptualGallery(gallery).ranks(gallery[:1], torch.tensor([9]))
    with pytest.raises(ValueError, match="bring both to one shape"):
        PerceptualGallery(gallery).ranks(gallery[:1, :1], torch.tensor([0]))


def test_without_weights_there_is_a_reason(
    gallery: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pretrained.VARIABLE, str(tmp_path))
    monkeypatch.setattr(pretrained, "packaged_file", lambda trunk: None)
    absent = PerceptualGallery(gallery).ranks(gallery, torch.arange(GALLERY))
    assert isinstance(absent, Absent)
    assert "AlexNet" in absent.reason


def test_a_scene_embeds_its_gallery_once(
    weights: Path, gallery: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    whole = DeepFeatures.embedding

    def counted(self: DeepFeatures, images: Tensor) -> Tensor:
        seen.append(len(images))
        return whole(self, images)

    monkeypatch.setattr(DeepFeatures, "embedding", counted)
    truths = gallery[:2, None]
    scene = measurement.Scene(truths, torch.zeros(2, 1, dtype=torch.int64), gallery)
    for images in (truths, disturbed(truths)):
        measured = measurement.measure(images, scene)
        assert measured.perceptual_ranks is not None
    assert seen.count(GALLERY - 2) == 1
    assert set(seen) == {2, GALLERY - 2}
