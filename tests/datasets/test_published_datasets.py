"""Every data set that is downloaded or supplied, read from small files in its true format."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from published import SMALL, WRITERS, listed, publish, table

from gradsiege.catalogue import entries
from gradsiege.datasets import fashion_mnist, kind, obtained, prepare
from gradsiege.datasets.preparation.resample import middle, square
from gradsiege.datasets.preparation.splits import Prepared
from gradsiege.datasets.sources import supply
from gradsiege.errors import ArtifactError

# Seconds since the epoch: when the published files of Fashion-MNIST were packed.
PACKED_AT = {"train": 1504176606, "t10k": 1504176627}
OBTAINED = (*obtained("downloaded"), *obtained("supplied"))
BY_PATIENT = ("celeba", "eyepacs", "chestxray14", "image_manifest")


@pytest.fixture(scope="module", params=OBTAINED)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Prepared, dict[str, Any]]]:
    """A data set, prepared from its small files, and its parameters."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        parameters = publish(request.param, tmp_path_factory.mktemp(request.param), monkeypatch)
        yield prepare(request.param, 32, SMALL, 0, parameters), parameters


def test_every_data_set_has_small_files_to_be_read_from() -> None:
    assert set(WRITERS) == set(OBTAINED)
    assert set(entries("datasets")) == {"photos", "faces", "digits", "phantom", *WRITERS}


def test_contract(made: tuple[Prepared, dict[str, Any]]) -> None:
    """Shapes, counts, balance where the source allows it, no image twice, and a complete card."""
    prepared, parameters = made
    again = prepare(prepared.name, 32, SMALL, 0, parameters)
    present = np.unique(listed(prepared.name, parameters).labels)
    seen: set[bytes] = set()
    for role, split in prepared.splits.items():
        assert split.images.shape == (SMALL[role], 3, 32, 32)
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == split.groups.dtype == np.int64
        assert split.images.tobytes() == again.splits[role].images.tobytes()
        of_class = np.bincount(split.labels, minlength=len(prepared.classes))[present]
        assert of_class.max() - of_class.min() <= 1
        seen |= {hashlib.sha256(image.tobytes()).digest() for image in split.images}
    assert len(seen) == sum(SMALL.values())
    other = prepare(prepared.name, 32, SMALL, 1, parameters)
    assert other.splits["train"].images.tobytes() != prepared.splits["train"].images.tobytes()
    card = prepared.card
    assert card["sharing"] == supply.sharing_of(prepared.name, parameters)
    assert card["sources"]
    assert all({"name", "origin", "licence", "digest"} <= row.keys() for row in card["sources"])
    assert sum(sum(row.values()) for row in card["counts"].values()) == sum(SMALL.values())


def test_images_and_labels_are_those_of_the_source(made: tuple[Prepared, dict[str, Any]]) -> None:
    prepared, parameters = made
    source = listed(prepared.name, parameters)
    everything = list(source.read(np.arange(len(source.labels))))
    place = {square(middle(image), 32).tobytes(): index for index, image in enumerate(everything)}
    tests = []
    for role, split in prepared.splits.items():
        index = np.array([place[image.tobytes()] for image in split.images])
        np.testing.assert_array_equal(source.labels[index], split.labels)
        if source.groups is not None:
            np.testing.assert_array_equal(source.groups[index], split.groups)
        tests.append(source.tested is not None and source.tested[index])
        assert source.tested is None or np.all(tests[-1] == (role == "test"))
    assert (source.tested is None) == ("from_test" not in dir(kind(prepared.name))) or (
        prepared.name in ("image_folder", "image_manifest")
    )


def test_no_patient_has_two_roles(made: tuple[Prepared, dict[str, Any]]) -> None:
    prepared, _ = made
    owners: dict[int, set[str]] = {}
    for role, split in prepared.splits.items():
        for group in split.groups.tolist():
            owners.setdefault(group, set()).add(role)
    assert all(len(roles) == 1 for roles in owners.values())
    if prepared.name in BY_PATIENT:
        assert max(np.bincount(prepared.splits["train"].groups)) > 1
        assert max(np.bincount(prepared.splits["victims"].groups)) == 1


# ---- what single formats hold


def test_cifar_is_read_as_its_page_describes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("cifar10", tmp_path, monkeypatch)
    source = listed("cifar10", {})
    with tarfile.open(tmp_path / "cifar10/cifar-10-binary.tar.gz") as archive:
        raw = archive.extractfile("cifar-10-batches-bin/data_batch_2.bin").read()
    record = raw[3 * 3073 : 4 * 3073]
    (image,) = source.read(np.array([43]))
    assert source.labels[43] == record[0] == 3
    assert source.classes[3] == "cat"
    # A thousand and twenty-four red values row by row, then green, then blue.
    assert image[2, 5].tolist() == [record[1 + plane * 1024 + 2 * 32 + 5] for plane in range(3)]
    assert source.tested.sum() == 40


def test_fashion_mnist_is_found_where_a_package_of_debian_puts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("fashion_mnist", tmp_path / "download", monkeypatch)
    downloaded = tmp_path / "download/fashion_mnist"
    packaged = tmp_path / "share/fashion-mnist"
    packaged.mkdir(parents=True)
    WRITERS["fashion_mnist"](packaged)
    files = supply.files_of("fashion_mnist", {})
    monkeypatch.setattr(kind("fashion_mnist"), "packaged", supply.Packaged(packaged, files))
    # A complete download goes first; an incomplete one does not.
    assert supply.place_of("fashion_mnist", {})[0] == downloaded
    (downloaded / files[0].path).unlink()
    assert supply.missing("fashion_mnist", {}) == []
    supply.check("fashion_mnist", {})
    prepared = prepare("fashion_mnist", 32, SMALL, 0)
    assert [row["digest"] for row in prepared.card["sources"]] == [file.digest for file in files]
    assert str(packaged) not in str(prepared.card)
    damaged = packaged / files[0].path
    damaged.write_bytes(bytes(damaged.stat().st_size))
    with pytest.raises(ArtifactError, match="it is damaged or another version"):
        supply.check("fashion_mnist", {})
    damaged.unlink()
    (lacking,) = supply.missing("fashion_mnist", {})
    assert lacking.startswith(f"fashion_mnist/{files[0].path} (")


@pytest.mark.skipif(
    not fashion_mnist.PACKAGED.folder.is_dir(),
    reason="Debian's package dataset-fashion-mnist is not installed",
)
def test_debians_files_are_the_published_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian took name and time out of the gzip header; with them back, the published checksum comes out."""
    monkeypatch.setenv(supply.ROOT_VARIABLE, str(tmp_path))
    supply.check("fashion_mnist", {})
    folder, _ = supply.place_of("fashion_mnist", {})
    assert folder == fashion_mnist.PACKAGED.folder
    for published in supply.files_of("fashion_mnist", {}):
        content = (folder / published.path).read_bytes()
        name = published.path.removesuffix(".gz")
        time = PACKED_AT[name.partition("-")[0]].to_bytes(4, "little")
        whole = content[:3] + b"\x08" + time + content[8:10] + name.encode() + b"\0" + content[10:]
        digest = hashlib.md5(whole, usedforsecurity=False).hexdigest()
        assert (len(whole), f"md5:{digest}") == (published.size, published.digest)
    source = listed("fashion_mnist", {})
    assert np.bincount(source.labels).tolist() == [7000] * 10
    assert source.tested is not None
    assert source.tested.sum() == 10_000


def test_svhn_calls_zero_ten_and_medmnist_keeps_single_findings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("svhn", tmp_path, monkeypatch)
    assert listed("svhn", {}).labels[:10].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    publish("medmnist_chest", tmp_path, monkeypatch)
    source = listed("medmnist_chest", {})
    assert source.labels[:4].tolist() == [0, 2, 3, 4]
    assert source.classes[2] == "cardiomegaly"
    with np.load(tmp_path / "medmnist_chest/chestmnist.npz") as arrays:
        (image,) = source.read(np.array([1]))
        np.testing.assert_array_equal(image, arrays["train_images"][2])
        (image,) = source.read(np.array([len(source.labels) - 1]))
        np.testing.assert_array_equal(image, arrays["test_images"][-1])


def test_imagenet_reads_kaggles_layout_of_the_validation_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = publish("imagenet", tmp_path, monkeypatch)
    by_folders = listed("imagenet", parameters)
    val = tmp_path / "imagenet/val"
    rows = [("ImageId", "PredictionString")]
    for path in sorted(val.rglob("*.JPEG")):
        rows.append((path.stem, f"{path.parent.name} 1 2 30 40 "))
        path.rename(val / path.name)
    for folder in [path for path in val.iterdir() if path.is_dir()]:
        folder.rmdir()
    with pytest.raises(ValueError, match=r"LOC_val_solution\.csv, which maps its files"):
        listed("imagenet", parameters)
    table(tmp_path / "imagenet/LOC_val_solution.csv", *rows)
    by_table = listed("imagenet", parameters)
    np.testing.assert_array_equal(by_table.labels, by_folders.labels)
    np.testing.assert_array_equal(by_table.tested, by_folders.tested)
    with pytest.raises(ValueError, match="holds 4 synset folders, not 1000"):
        listed("imagenet", {})


def test_ages_are_decades_and_faces_without_one_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("ffhq_age", tmp_path, monkeypatch)
    source = listed("ffhq_age", {})
    assert source.labels[:9].tolist() == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    assert source.classes[3] == "30-39 years"


def test_covid_takes_the_classes_in_their_order_and_no_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("covid_radiography", tmp_path, monkeypatch)
    source = listed("covid_radiography", {})
    assert source.classes == ("Normal", "COVID")
    assert {image.shape for image in source.read(np.arange(len(source.labels)))} == {(99, 99)}


def test_images_of_ones_own_are_restricted_unless_their_owner_says_otherwise() -> None:
    assert supply.sharing_of("image_folder", {"path": "x"}) == supply.RESTRICTED
    assert supply.sharing_of("image_folder", {"path": "x", "sharing": "public"}) == supply.PUBLIC
    restricted = {name for name in OBTAINED if supply.sharing_of(name, {}) == supply.RESTRICTED}
    assert {"imagenet", "tiny_imagenet", "celeba", "eyepacs", "airogs", "ffhq_age"} <= restricted
    assert not restricted & {"cifar10", "mnist", "medmnist_chest", "photos", "phantom"}
