"""HaarPSI, and LPIPS with a stand-in trunk: the published one is not part of the repository."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gradsiege.metrics import perceptual
from gradsiege.metrics.absent import Absent
from gradsiege.metrics.perceptual import (
    LPIPS_SIDE,
    TRUNKS,
    Trunk,
    TrunkName,
    haar_perceptual_similarity,
    load_lpips,
    lpips,
)


def random_features(trunk: str, seed: int = 0) -> dict[str, Tensor]:
    """A state with the names and shapes of torchvision's features, and random numbers."""
    import torchvision

    with torch.device("meta"):
        model = {"alex": torchvision.models.alexnet, "vgg": torchvision.models.vgg16}[trunk]()
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, value in model.state_dict().items():
        if name.startswith("features."):
            fan_in = value[0].numel() if value.ndim > 1 else 100
            state[name] = torch.randn(value.shape, generator=generator) * (2 / fan_in) ** 0.5
    return state


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a random AlexNet trunk whose own digest counts as the published one."""
    yield stored(tmp_path, monkeypatch, "alex")
    perceptual._load.cache_clear()


def stored(folder: Path, monkeypatch: pytest.MonkeyPatch, trunk: str) -> Path:
    file = folder / TRUNKS[trunk].file
    torch.save(random_features(trunk), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setitem(TRUNKS, trunk, Trunk(file.name, digest))
    return folder


def scored(x: Tensor, y: Tensor, weights: Path, trunk: TrunkName = "alex") -> Tensor:
    value = lpips(x, y, trunk, weights)
    assert isinstance(value, Tensor), value
    return value


def reference_network(folder: Path) -> torch.nn.Module:
    """The lpips package's own network, filled by hand layer by layer."""
    from lpips import LPIPS

    network: torch.nn.Module = LPIPS(net="alex", pnet_rand=True, verbose=False).double()
    fill(network.get_submodule("net"), folder)
    return network


def fill(net: torch.nn.Module, folder: Path) -> None:
    state = torch.load(folder / TRUNKS["alex"].file, weights_only=True)
    layers = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    names = sorted({int(name.split(".")[1]) for name in state})
    for layer, index in zip(layers, names, strict=True):
        layer.load_state_dict({k: state[f"features.{index}.{k}"] for k in ("weight", "bias")})


def test_haarpsi_of_two_black_images_is_one() -> None:
    black = torch.zeros(2, 3, 32, 32)
    assert haar_perceptual_similarity(black, black).tolist() == [1.0, 1.0]
    assert 0 <= haar_perceptual_similarity(black, torch.ones_like(black))[0] < 0.25


def test_published_digests_carry_the_digits_of_their_file_names() -> None:
    for trunk in TRUNKS.values():
        assert len(trunk.sha256) == 64
        assert Path(trunk.file).stem.rpartition("-")[2] == trunk.sha256[:8]
        assert trunk.url.endswith("/" + trunk.file)


@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_a_missing_trunk_is_a_reason(trunk: TrunkName, tmp_path: Path, small: Tensor) -> None:
    absent = lpips(small, small, trunk, tmp_path)
    assert isinstance(absent, Absent)
    for part in (str(tmp_path), TRUNKS[trunk].file, TRUNKS[trunk].url, "GRADSIEGE_WEIGHTS"):
        assert part in absent.reason


@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_a_wrong_digest_is_refused_by_name(trunk: TrunkName, tmp_path: Path, small: Tensor) -> None:
    file = tmp_path / TRUNKS[trunk].file
    file.write_bytes(b"not the published weights")
    absent = lpips(small, small, trunk, tmp_path)
    assert isinstance(absent, Absent)
    own = hashlib.sha256(file.read_bytes()).hexdigest()
    for part in ("refuses", str(file), own, TRUNKS[trunk].sha256):
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
    absent = load_lpips()
    assert isinstance(absent, Absent)
    assert "data/weights/alexnet" in absent.reason
    monkeypatch.setenv("GRADSIEGE_WEIGHTS", str(stand_in))
    network = load_lpips()
    assert not isinstance(network, Absent)
    assert network.sha256 == TRUNKS["alex"].sha256
    assert network.file == stand_in / TRUNKS["alex"].file
    assert isinstance(load_lpips(weights=tmp_path / "elsewhere"), Absent)


def test_an_unknown_trunk_is_named(small: Tensor) -> None:
    with pytest.raises(ValueError, match="unknown trunk 'squeeze', known: alex, vgg"):
        lpips(small, small, "squeeze")


def test_wrong_images_are_refused_even_without_weights(tmp_path: Path, small: Tensor) -> None:
    with pytest.raises(ValueError, match="values lie in"):
        lpips(small * 2 - 1, small, "alex", tmp_path)


@pytest.mark.filterwarnings("ignore:.*deprecated:UserWarning")  # of the package's torchvision call
def test_lpips_is_that_of_the_package_on_zero_to_one_images(
    stand_in: Path, large: Tensor, large_noisy: Tensor
) -> None:
    """Rescaling once, here: the package told that images are in [0, 1] must agree."""
    x, y = large_noisy[..., :96, :80], large[..., :96, :80]
    network = reference_network(stand_in)
    with torch.no_grad():
        expected = network(x, y, normalize=True).flatten()
        unscaled = network(x, y).flatten()
    torch.testing.assert_close(scored(x, y, stand_in), expected)
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
    torch.testing.assert_close(scored(small_noisy[order], small[order], stand_in), scores[order])
    torch.testing.assert_close(scored(small, small_noisy, stand_in), scores)
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
    monkeypatch.setattr(perceptual, "LPIPS_CHUNK", 3)
    torch.testing.assert_close(scored(small_noisy, small, stand_in), whole)


def test_lpips_enlarges_small_images_by_its_stated_rule_only(
    stand_in: Path, small: Tensor, small_noisy: Tensor
) -> None:
    def enlarged(images: Tensor, size: tuple[int, int]) -> Tensor:
        return torch.nn.functional.interpolate(
            images, size, mode="bilinear", align_corners=False
        ).clamp(0, 1)

    x, y = small_noisy[..., :16, :], small[..., :16, :]  # 16 x 32 becomes 64 x 128
    twice = (LPIPS_SIDE, 2 * LPIPS_SIDE)
    torch.testing.assert_close(
        scored(x, y, stand_in), scored(enlarged(x, twice), enlarged(y, twice), stand_in)
    )


def test_grey_images_count_as_three_equal_channels(
    stand_in: Path, small: Tensor, small_noisy: Tensor
) -> None:
    x, y = small_noisy[:, :1], small[:, :1]
    colour = scored(x.repeat(1, 3, 1, 1), y.repeat(1, 3, 1, 1), stand_in)
    torch.testing.assert_close(scored(x, y, stand_in), colour)


@pytest.mark.filterwarnings("error")
def test_loading_is_silent_and_leaves_the_global_generator_alone(
    stand_in: Path, small: Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    before = torch.random.get_rng_state()
    network = load_lpips("alex", stand_in)
    assert not isinstance(network, Absent)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert capsys.readouterr().out == ""
    assert not any(parameter.requires_grad for parameter in network.module.parameters())
    assert not network.module.training


def test_the_calibrated_heads_are_the_published_ones(stand_in: Path) -> None:
    """The package loads its heads leniently; random heads would show as negative weights."""
    network = load_lpips("alex", stand_in)
    assert not isinstance(network, Absent)
    heads = [p for name, p in network.module.named_parameters() if name.startswith("lin")]
    assert len(heads) >= 5
    assert all((head >= 0).all() for head in heads)


def test_the_vgg_trunk_finds_every_layer(
    tmp_path: Path, small: Tensor, small_noisy: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stored(tmp_path, monkeypatch, "vgg")
    scores = scored(small_noisy[:2], small[:2], folder, "vgg")
    assert (scores > 0).all()
    network = load_lpips("vgg", folder)
    assert not isinstance(network, Absent)
    expected = random_features("vgg")["features.28.weight"].double()
    assert torch.equal(network.module.net.slice5[-2].weight, expected)
    perceptual._load.cache_clear()
