"""VGG-16: its layers, its start, and the convolutions of ImageNet where a study asks for them."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from trunks import as_package, random_features

from gradsiege import pretrained
from gradsiege.errors import MissingError
from gradsiege.models import ModelSpec, build

torch.set_num_threads(1)


def spec(channels: int = 3, size: int = 32, **parameters: object) -> ModelSpec:
    return ModelSpec("vgg16", dict(parameters), 10, channels, size)


def drawn(chosen: ModelSpec, seed: int = 0) -> dict[str, torch.Tensor]:
    return build(chosen, torch.Generator().manual_seed(seed)).state_dict()


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """Random convolutions that count as those of ImageNet, by torchvision's names."""
    monkeypatch.setenv(pretrained.VARIABLE, str(tmp_path / "empty"))
    as_package(tmp_path, monkeypatch, "vgg")
    return random_features("vgg")


def test_its_convolutions_are_those_of_configuration_d() -> None:
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    expected = sum(9 * a * b + b for a, b in itertools.pairwise(widths)) + 512 * 10 + 10
    assert sum(value.numel() for value in build(spec()).parameters()) == expected


def test_from_scratch_the_signal_goes_through() -> None:
    model = build(spec(width=8), torch.Generator().manual_seed(0))
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    deep = model.body.features(model.normalisation(images)).mean((2, 3))
    # PyTorch's default draw leaves less than a thousandth of this after thirteen convolutions.
    assert deep.std() > 0.05


def test_pretrained_convolutions_are_the_published_ones_and_the_head_is_drawn(
    published: dict[str, torch.Tensor],
) -> None:
    first, other = (drawn(spec(pretrained=True), seed) for seed in (0, 1))
    for name, value in published.items():
        assert torch.equal(first[f"body.{name}"], value)
    assert not torch.equal(first["body.head.weight"], other["body.head.weight"])
    plain = drawn(spec())
    assert torch.equal(first["body.head.weight"], plain["body.head.weight"])
    assert not torch.equal(first["body.features.0.weight"], plain["body.features.0.weight"])


def test_a_grey_image_gives_what_three_equal_channels_give(
    published: dict[str, torch.Tensor],
) -> None:
    grey, colour = (
        build(spec(channels, pretrained=True), torch.Generator().manual_seed(0))
        for channels in (1, 3)
    )
    image = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    first, second = (
        model.body.features(model.normalisation(seen))
        for model, seen in ((grey, image), (colour, image.expand(-1, 3, -1, -1)))
    )
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)


def test_weights_are_needed_where_training_begins_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pretrained.VARIABLE, str(tmp_path))
    monkeypatch.setattr(pretrained, "packaged_file", lambda trunk: None)
    with pytest.raises(MissingError, match="the ImageNet weights of VGG16 are neither"):
        drawn(spec(pretrained=True))
    build(spec(pretrained=True))


def test_what_it_cannot_be_is_said() -> None:
    with pytest.raises(ValueError, match="32 px or more, not 16"):
        build(spec(size=16))
    with pytest.raises(ValueError, match="have the width 64, not 8; leave out width"):
        build(spec(width=8, pretrained=True))
