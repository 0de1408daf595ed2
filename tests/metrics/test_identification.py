"""Retrieval rewards the victim's picture and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gradsiege.metrics.identification import chance_rank_one, pixels, retrieval_rank

GALLERY = 40


@pytest.fixture(scope="module")
def gallery(large: Tensor) -> Tensor:
    """Forty different patches of four photographs, float64 [40, 3, 32, 32]."""
    generator = torch.Generator().manual_seed(3)
    corners = torch.randint(0, 160, (GALLERY, 2), generator=generator).tolist()
    return torch.stack(
        [large[i % 4, :, y : y + 32, x : x + 32] for i, (y, x) in enumerate(corners)]
    )


@pytest.fixture(scope="module")
def everyone() -> Tensor:
    return torch.arange(GALLERY)


def noise(like: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(like.shape, generator=generator, dtype=like.dtype)


def test_the_victim_itself_has_rank_one(gallery: Tensor, everyone: Tensor) -> None:
    ranks = retrieval_rank(gallery, everyone, gallery)
    assert ranks.dtype == torch.int64
    assert ranks.tolist() == [1] * GALLERY


def test_brightness_and_contrast_do_not_hide_the_victim(gallery: Tensor, everyone: Tensor) -> None:
    assert (retrieval_rank(0.3 + 0.4 * gallery, everyone, gallery) == 1).all()


def test_ranks_follow_the_reconstruction_not_its_position(
    gallery: Tensor, everyone: Tensor
) -> None:
    blurred = (0.3 * gallery + 0.7 * noise(gallery, 1)).clamp(0, 1)
    ranks = retrieval_rank(blurred, everyone, gallery)
    order = torch.randperm(GALLERY, generator=torch.Generator().manual_seed(0))
    assert torch.equal(retrieval_rank(blurred[order], everyone[order], gallery), ranks[order])
    shuffled = torch.argsort(order)  # where each victim went when the gallery itself is shuffled
    assert torch.equal(retrieval_rank(blurred, shuffled, gallery[order]), ranks)


def test_noise_identifies_nobody_more_often_than_chance(gallery: Tensor, everyone: Tensor) -> None:
    hits = torch.cat(
        [retrieval_rank(noise(gallery, seed), everyone, gallery) == 1 for seed in range(25)]
    ).double()
    chance = chance_rank_one(GALLERY)
    assert abs(hits.mean() - chance) < 4 * (chance * (1 - chance) / len(hits)) ** 0.5


@pytest.mark.parametrize("colour", [(0.5, 0.5, 0.5), (0.0, 0.0, 0.0), (0.9, 0.1, 0.3)])
def test_constant_reconstructions_get_the_worst_rank(
    colour: tuple[float, float, float], gallery: Tensor, everyone: Tensor
) -> None:
    flat = torch.tensor(colour).reshape(1, 3, 1, 1).expand(GALLERY, 3, 32, 32)
    assert (retrieval_rank(flat, everyone, gallery.float()) == GALLERY).all()
    assert (retrieval_rank(flat.double(), everyone, gallery) == GALLERY).all()


def test_one_image_for_everybody_wins_at_most_once(gallery: Tensor, everyone: Tensor) -> None:
    for collapsed in (gallery.mean(dim=0), gallery[7]):
        ranks = retrieval_rank(collapsed.expand_as(gallery), everyone, gallery)
        assert (ranks == 1).sum() <= 1
        assert sorted(ranks.tolist()) == list(range(1, GALLERY + 1))


def test_a_duplicate_of_the_victim_counts_against_the_attacker(gallery: Tensor) -> None:
    twice = torch.cat([gallery, gallery[:1]])
    assert retrieval_rank(gallery[:2], torch.tensor([0, 1]), twice).tolist() == [2, 1]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_failed_reconstructions_get_the_worst_rank(
    bad: float, gallery: Tensor, everyone: Tensor
) -> None:
    failed = gallery.clone()
    failed[3, 0, 0, 0] = bad
    expected = torch.ones(GALLERY, dtype=torch.int64)
    expected[3] = GALLERY
    assert torch.equal(retrieval_rank(failed, everyone, gallery), expected)
    nothing = torch.full_like(gallery, bad)
    assert (retrieval_rank(nothing, everyone, gallery) == GALLERY).all()


def test_single_and_double_precision_agree(gallery: Tensor, everyone: Tensor) -> None:
    blurred = (0.3 * gallery + 0.7 * noise(gallery, 1)).clamp(0, 1)
    single = retrieval_rank(blurred.float(), everyone, gallery.float())
    assert torch.equal(single, retrieval_rank(blurred, everyone, gallery))


def test_other_features_can_be_compared(gallery: Tensor, everyone: Tensor) -> None:
    def mean_colour(images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))

    assert (retrieval_rank(gallery.flip(-1), everyone, gallery, mean_colour) == 1).all()
    assert (retrieval_rank(gallery.flip(-1), everyone, gallery) == 1).sum() < GALLERY
    with pytest.raises(ValueError, match=r"features must be \[40, d\], got \[40, 3, 32, 32\]"):
        retrieval_rank(gallery, everyone, gallery, lambda images: images)
    with pytest.raises(ValueError, match="NaN or infinity"):
        retrieval_rank(gallery, everyone, gallery, lambda images: mean_colour(images) / 0)


def test_pixels_are_zero_mean_planes_of_a_bounded_size(gallery: Tensor) -> None:
    rows = pixels(gallery)
    assert rows.shape == (GALLERY, 4 * 16 * 16)
    planes = rows.reshape(GALLERY, 4, -1)
    assert planes.mean(dim=2).abs().max() < 1e-12
    torch.testing.assert_close(planes[:, 0], planes[:, 1:].mean(dim=1))
    assert pixels(gallery[:, :1, :8, :8]).shape == (GALLERY, 2 * 8 * 8)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (torch.tensor([0, GALLERY]), r"0\.\.40 leaves the gallery of 40"),
        (torch.tensor([-1, 0]), r"-1\.\.0 leaves"),
        (torch.tensor([0]), r"int64 \[2\]"),
        (torch.tensor([0.0, 1.0]), r"int64 \[2\], got torch\.float32"),
    ],
)
def test_wrong_indices_are_refused(index: Tensor, message: str, gallery: Tensor) -> None:
    with pytest.raises(ValueError, match=message):
        retrieval_rank(gallery[:2], index, gallery)


def test_galleries_that_do_not_fit_are_refused(gallery: Tensor) -> None:
    with pytest.raises(ValueError, match="bring both to one shape"):
        retrieval_rank(gallery[:2, :1], torch.tensor([0, 1]), gallery)
    with pytest.raises(ValueError, match="at least two"):
        retrieval_rank(gallery[:1], torch.tensor([0]), gallery[:1])
    with pytest.raises(ValueError, match="at least one image"):
        chance_rank_one(0)
