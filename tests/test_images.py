"""Images on disk: what is taken of them comes into memory, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from resident import needs_linux, resident

from gradsiege import artifacts
from gradsiege.images import IMAGES, StoredImages, load_images


def stored(count: int, size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)


def test_what_is_taken_is_the_image_in_the_unit_interval() -> None:
    images = stored(12, 4)
    order = torch.tensor([7, 0, 7])
    assert torch.equal(StoredImages(images)[order], images[order].float() / 255)
    assert torch.equal(StoredImages(images)[2:5], images[2:5].float() / 255)
    assert StoredImages(images).shape == (12, 3, 4, 4)


@pytest.mark.parametrize("count", [2, 99, 100, 101, 250])
def test_channel_statistics_are_those_of_double_precision(count: int) -> None:
    images = stored(count, 5)
    images[:, 1] //= 10
    mean, deviation = StoredImages(images).channel_statistics()
    reference = images.double() / 255
    assert torch.equal(mean, reference.mean((0, 2, 3)).float())
    torch.testing.assert_close(deviation, reference.std((0, 2, 3)).float(), rtol=1e-7, atol=0)


@needs_linux
def test_images_stay_on_disk_until_they_are_taken(tmp_path: Path) -> None:
    count = 12_000
    tensors = {"images": stored(count, 64), "labels": torch.arange(count)}
    artifacts.write_tensors(tmp_path / "train.safetensors", tensors, IMAGES, {"classes": ["a"]})
    artifacts.write_manifest(tmp_path, {}, ["train.safetensors"])
    expected = tensors["images"][5:15].clone()
    del tensors
    before = resident()
    images, labels, _ = load_images(tmp_path / "train.safetensors")
    images.channel_statistics()
    assert torch.equal(images[torch.arange(5, 15)], expected.float() / 255)
    assert labels[-1] == count - 1
    # They are 147 MB as bytes, and 590 MB as numbers; a chunk of them and what the allocator keeps are far less.
    assert resident() - before < 100
