"""Every data set that is downloaded or supplied, read from small files in its true format."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from published import PER_CLASS, WRITERS, noise, picture, publish, table

from gradsiege.catalogue import entries
from gradsiege.datasets import PUBLIC, SUPPLIED, prepare, supply
from gradsiege.datasets.formats import archives, pictures
from gradsiege.datasets.formats.idx import read_idx
from gradsiege.datasets.listing import Listing, deal
from gradsiege.datasets.resample import middle, square
from gradsiege.datasets.splits import DEALING_ORDER, Prepared
from gradsiege.errors import ArtifactError, MissingError, StudyError

SMALL = {"train": 12, "test": 7, "aux": 6, "public": 5, "tune": 3, "victims": 4}
BY_PATIENT = ("celeba", "eyepacs", "chestxray14", "image_manifest")


@pytest.fixture(scope="module", params=[*PUBLIC, *SUPPLIED])
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Prepared, dict[str, Any]]]:
    """A data set, prepared from its small files, and its parameters."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        parameters = publish(request.param, tmp_path_factory.mktemp(request.param), monkeypatch)
        yield prepare(request.param, 32, SMALL, 0, parameters), parameters


def listed(name: str, parameters: dict[str, Any]) -> Listing:
    module = supply.module_of(name)
    found: Listing = module.listing(supply.folder_of(name), module.Parameters(**parameters))
    return found


def test_every_data_set_has_small_files_to_be_read_from() -> None:
    assert set(WRITERS) == {*PUBLIC, *SUPPLIED}
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
    assert (source.tested is None) == (
        "from_test" not in dir(supply.module_of(prepared.name).Parameters)
    ) or (prepared.name in ("image_folder", "image_manifest"))


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


def test_roles_may_be_dealt_from_the_test_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GI-PIP's auxiliary set is the validation part, GIFD's victims are in it."""
    publish("cifar10", tmp_path, monkeypatch)
    chosen = {"from_test": ["test", "aux"]}
    prepared = prepare("cifar10", 32, SMALL, 0, chosen)
    tested = np.flatnonzero(listed("cifar10", {}).tested)
    inside = {
        role: set(split.groups.tolist()) <= set(tested) for role, split in prepared.splits.items()
    }
    assert {role for role, found in inside.items() if found} == {"test", "aux"}
    assert "Of the official test part: test, aux" in prepared.card["splitting_rule"]
    with pytest.raises(ValueError, match="from_test: unknown role 'tets'"):
        prepare("cifar10", 32, SMALL, 0, {"from_test": ["tets"]})


# ---- dealing


def count_decodes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    opened: list[str] = []
    real = pictures.decode

    def counted(file: Any, name: str) -> Any:
        opened.append(name)
        return real(file, name)

    monkeypatch.setattr(pictures, "decode", counted)
    return opened


def test_only_what_is_asked_for_is_decoded_and_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = publish("imagenet", tmp_path, monkeypatch)
    opened = count_decodes(monkeypatch)
    listed("imagenet", parameters)
    assert opened == []
    prepare("imagenet", 64, {"victims": 4, "train": 9, "test": 3}, 0, parameters)
    assert len(opened) == len(set(opened)) == 16 < 2 * 4 * PER_CLASS


def test_repetitions_are_replaced_and_victims_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the files are copies: of two that are dealt, the victim stays, and the other is replaced."""
    parameters = publish("image_folder", tmp_path, monkeypatch)
    for number in range(0, 36, 2):
        for name in ("ant", "bee"):
            copy = tmp_path / f"mine/{name}/{number + 1}.png"
            copy.write_bytes((tmp_path / f"mine/{name}/{number}.png").read_bytes())
    opened = count_decodes(monkeypatch)
    alone = prepare("image_folder", 32, {"victims": 8}, 0, parameters)
    opened.clear()
    full = prepare("image_folder", 32, {"victims": 8, "train": 20, "test": 4}, 0, parameters)
    images = np.concatenate([split.images for split in full.splits.values()])
    assert len(np.unique(images.reshape(32, -1), axis=0)) == 32
    np.testing.assert_array_equal(alone.splits["victims"].images, full.splits["victims"].images)
    assert len(opened) == len(set(opened))
    with pytest.raises(ValueError, match="role 'train' asks for 30 images but only"):
        prepare("image_folder", 32, {"victims": 8, "train": 30}, 0, parameters)


def some(images: int, classes: int, groups: int | None = None) -> Listing:
    """A listing without images."""
    labels = np.random.default_rng(images).integers(0, classes, images)
    of_group = None if groups is None else np.random.default_rng(1).integers(0, groups, images)
    names = tuple(f"class {place}" for place in range(classes))
    return Listing(names, labels, lambda indices: iter(()), None, of_group)


def test_many_classes_are_dealt_fairly() -> None:
    """Eight victims of a thousand classes are not always of the first eight, and all roles share their classes."""
    source = some(60_000, 1000)
    wanted = {"victims": 8, "test": 500, "train": 20_000}
    dealt = deal("any", source, wanted, 0)
    labels = {role: source.labels[index] for role, index in dealt.items()}
    assert len(set(labels["victims"].tolist())) == 8
    assert labels["victims"].max() > 100
    assert set(labels["victims"].tolist()) <= set(labels["test"].tolist())
    assert np.bincount(labels["train"]).tolist() == [20] * 1000
    fewer = deal("any", source, {"victims": 8}, 0)
    np.testing.assert_array_equal(fewer["victims"], dealt["victims"])


@pytest.mark.parametrize("seed", range(3))
def test_groups_stay_together(seed: int) -> None:
    source = some(4000, 5, groups=900)
    wanted = dict.fromkeys(DEALING_ORDER, 60)
    dealt = deal("any", source, wanted, seed)
    assert source.groups is not None
    owners = [set(source.groups[index].tolist()) for index in dealt.values()]
    assert sum(map(len, owners)) == len(set.union(*owners))
    assert {role: len(index) for role, index in dealt.items()} == wanted
    # A large role spends few patients; victims are of as many as can be.
    assert len(owners[list(dealt).index("victims")]) == 60
    assert len(owners[list(dealt).index("train")]) < 60


def test_numbers_of_a_group_without_a_name_are_its_own() -> None:
    rows = [
        pictures.Row("a", 0, "p"),
        pictures.Row("b", 0),
        pictures.Row("c", 0, "p"),
        pictures.Row("d", 0),
    ]
    assert pictures.list_files(Path(), rows, ("x",)).groups.tolist() == [0, 1, 0, 2]


# ---- files that are absent, damaged or evil


def test_absent_files_are_named_with_checksum_and_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(supply.ROOT_VARIABLE, str(tmp_path))
    for name in (*PUBLIC, *SUPPLIED):
        parameters = (
            {"path": "mine"}
            if name == "image_folder"
            else {"file": "l.csv"}
            if name == "image_manifest"
            else {}
        )
        with pytest.raises(MissingError) as raised:
            prepare(name, 32, SMALL, 0, parameters)
        said = str(raised.value)
        origin = supply.origin_of(name)
        assert origin is not None
        assert origin.steps in said
        for file in supply.files_of(name, parameters):
            assert file.path.rstrip("/") in said
            assert file.digest in said
        assert str(tmp_path) not in supply.absence(name, parameters)


def test_a_wrong_checksum_and_a_torn_file_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("cifar10", tmp_path, monkeypatch)
    archive = tmp_path / "cifar10/cifar-10-binary.tar.gz"
    content = archive.read_bytes()
    archive.write_bytes(content[:-10] + bytes(10))
    with pytest.raises(
        ArtifactError, match=r"cifar-10-binary\.tar\.gz has sha256 \w+, expected \w+"
    ):
        prepare("cifar10", 32, SMALL, 0)
    archive.write_bytes(content[:-10])
    with pytest.raises(
        MissingError, match=rf"\({len(content) - 10} of {len(content)} bytes are there\)"
    ):
        prepare("cifar10", 32, SMALL, 0)
    monkeypatch.setattr(supply.module_of("cifar10"), "files", lambda parameters: ())
    archive.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        ValueError, match=r"cifar-10-binary\.tar\.gz .* it is truncated, or another"
    ):
        prepare("cifar10", 32, SMALL, 0)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: b"<html>" + content, "is no MATLAB 5 file"),
        (lambda content: content[:127], "is no MATLAB 5 file"),
        (lambda content: content[:200], "is cut short or damaged"),
        (lambda content: content[: len(content) // 2], "is cut short or damaged"),
        (lambda content: content[:-1], "is cut short or damaged"),
        (lambda content: content[:5000] + bytes(9) + content[5009:], "is cut short or damaged"),
        (lambda content: content[:128], "holds no array X and no y"),
    ],
)
def test_a_damaged_file_of_svhn_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[bytes], bytes], words: str
) -> None:
    publish("svhn", tmp_path, monkeypatch)
    path = tmp_path / "svhn/test_32x32.mat"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"test_32x32\.mat {words}.*: delete it and get it again"):
        listed("svhn", {})


def evil_tar(path: Path, kind: bytes, target: str = "") -> None:
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("wanted")
        info.type, info.linkname = kind, target
        archive.addfile(info)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE]
)
def test_a_link_or_device_in_an_archive_is_refused(tmp_path: Path, kind: bytes) -> None:
    evil_tar(tmp_path / "evil.tar.gz", kind, "/etc/passwd")
    with pytest.raises(ValueError, match=r"evil\.tar\.gz: wanted is no regular file"):
        archives.tar_members(tmp_path / "evil.tar.gz", ["wanted"])


def test_members_that_are_too_large_or_lead_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "large.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("../../escaped")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
        info = tarfile.TarInfo("wanted")
        info.size = 1000
        archive.addfile(info, io.BytesIO(bytes(1000)))
    with pytest.raises(ValueError, match="wanted has 1000 bytes, more than 999"):
        archives.tar_members(path, ["wanted"], 999)
    assert archives.tar_members(path, ["wanted"]) == {"wanted": bytes(1000)}
    assert [found.name for found in tmp_path.iterdir()] == ["large.tar.gz"]
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("wanted", bytes(100_000))
    with zipfile.ZipFile(tmp_path / "bomb.zip") as bomb:
        with pytest.raises(ValueError, match="100000 bytes, more than 500"):
            archives.zip_member(bomb, "wanted", 500)
        with pytest.raises(ValueError, match="no member other"):
            archives.zip_member(bomb, "other")


def test_pickles_are_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish("medmnist_blood", tmp_path, monkeypatch)
    monkeypatch.setattr(supply.module_of("medmnist_blood"), "files", lambda parameters: ())
    path = tmp_path / "medmnist_blood/bloodmnist.npz"
    monkeypatch.setattr(
        supply.module_of("medmnist_blood"), "listing", lambda folder, parameters: read(path)
    )
    from gradsiege.datasets.formats.medmnist import list_npz

    def read(file: Path) -> Listing:
        return list_npz(file, ("a", "b"))

    evil = {
        f"{part}_{kind}": np.array([{}], dtype=object)
        for part in ("train", "val", "test")
        for kind in ("labels", "images")
    }
    np.savez(path, **evil)
    with pytest.raises(ValueError, match=r"bloodmnist\.npz is no file of MedMNIST: Object arrays"):
        prepare("medmnist_blood", 32, SMALL, 0)
    labels = {f"{part}_labels": np.arange(4)[:, None] % 2 for part in ("train", "val", "test")}
    np.savez(path, **(evil | labels))
    with pytest.raises(ValueError, match=r"train_images\.npy is object \(1,\)"):
        prepare("medmnist_blood", 32, {"train": 2}, 0)


def test_idx_files_are_held_against_their_header(tmp_path: Path) -> None:
    def refused(content: bytes, words: str) -> None:
        (tmp_path / "x.gz").write_bytes(gzip.compress(content))
        with pytest.raises(ValueError, match=words):
            read_idx(tmp_path / "x.gz", 1)

    refused(b"\0\0\x08\x01\0\0\0\x05abcd", "truncated or has another shape")
    refused(b"\0\0\x08\x01\0\0\0\x03abcd", "truncated or has another shape")
    refused(b"\0\0\x08\x01\xff\xff\xff\xff", "claims 4294967295 values")
    refused(b"\0\0\x0d\x01\0\0\0\x01abcd", "no IDX file of bytes")
    refused(b"\0\0", "cannot be read")


def test_pictures_of_every_kind_and_of_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = (noise(20, 20).astype(np.uint16) << 8) + 7
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(pictures.decode(tmp_path / "deep.png", "deep"), noise(20, 20))
    colour = Image.fromarray(noise(20, 20, 3))
    for mode in ("RGBA", "P", "CMYK", "LA"):
        path = tmp_path / ("x.tiff" if mode == "CMYK" else "x.png")
        colour.convert(mode).save(path)
        assert pictures.decode(path, "x").shape == (20, 20, 3)
    picture(tmp_path / "torn.png", 0)
    (tmp_path / "torn.png").write_bytes((tmp_path / "torn.png").read_bytes()[:300])
    (tmp_path / "text.png").write_text("no image")
    for name in ("torn.png", "text.png"):
        with pytest.raises(ValueError, match=f"{name} is no image that can be read"):
            pictures.decode(tmp_path / name, name)
    with pytest.raises(ValueError, match=r"none\.png is missing"):
        pictures.decode(tmp_path / "none.png", "none.png")
    monkeypatch.setattr(pictures, "MOST_PIXELS", 399)
    with pytest.raises(ValueError, match="20 by 20 pixels, more than 399"):
        pictures.decode(tmp_path / "x.png", "x.png")


@pytest.mark.parametrize(
    "path", ["../secret.png", "/etc/secret.png", "a/../../b.png", "a\\b.png", ""]
)
def test_a_manifest_cannot_lead_out_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setenv(supply.ROOT_VARIABLE, str(tmp_path))
    table(tmp_path / "list.csv", ("path", "label"), ("a.png", "x"), (path, "y"))
    with pytest.raises(ValueError, match=r"list\.csv, line 3: .* is no path inside its folder"):
        listed("image_manifest", {"file": "list.csv"})
    with pytest.raises(StudyError, match="is no path inside its folder"):
        supply.inside(path)


def test_a_manifest_is_read_strictly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(supply.ROOT_VARIABLE, str(tmp_path))

    def refused(words: str, *rows: tuple[str, ...]) -> None:
        table(tmp_path / "list.csv", *rows)
        with pytest.raises(ValueError, match=words):
            listed("image_manifest", {"file": "list.csv"})

    refused("path and label are needed", ("path", "class"), ("a.png", "x"))
    refused("lists an image twice", ("path", "label"), ("a.png", "x"), ("a.png", "y"))
    refused("line 2: too many or too few", ("path", "label"), ("a.png", "x", "y"))
    refused("line 2: part 'val' is neither", ("path", "label", "part"), ("a.png", "x", "val"))
    table(
        tmp_path / "list.csv", ("path", "label", "part"), ("a.png", "x", "test"), ("b.png", "y", "")
    )
    assert listed("image_manifest", {"file": "list.csv"}).tested.tolist() == [True, False]


def test_images_of_ones_own_are_restricted_unless_their_owner_says_otherwise() -> None:
    assert supply.sharing_of("image_folder", {"path": "x"}) == supply.RESTRICTED
    assert supply.sharing_of("image_folder", {"path": "x", "sharing": "public"}) == supply.PUBLIC
    restricted = {
        name for name in (*PUBLIC, *SUPPLIED) if supply.sharing_of(name, {}) == supply.RESTRICTED
    }
    assert {"imagenet", "tiny_imagenet", "celeba", "eyepacs", "airogs", "ffhq_age"} <= restricted
    assert not restricted & {"cifar10", "mnist", "medmnist_chest", "photos", "phantom"}
