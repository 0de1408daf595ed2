"""Files of data sets that are absent, damaged or evil are refused by name, with what to do."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from published import SMALL, listed, noise, picture, publish, table

from gradsiege.datasets import kind, obtained, prepare
from gradsiege.datasets.formats import archives, pictures
from gradsiege.datasets.formats.idx import read_idx
from gradsiege.datasets.preparation.listing import Listing
from gradsiege.datasets.sources import supply
from gradsiege.errors import ArtifactError, MissingError, StudyError


def test_absent_files_are_named_with_checksum_and_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(supply.ROOT_VARIABLE, str(tmp_path))
    for name in (*obtained("downloaded"), *obtained("supplied")):
        monkeypatch.setattr(kind(name), "packaged", None)
        parameters = (
            {"path": "mine"}
            if name == "image_folder"
            else {"file": "l.csv"}
            if name == "image_manifest"
            else {}
        )
        with pytest.raises(MissingError) as raised:
            prepare(name, 32, SMALL, 0, parameters)
        message = str(raised.value)
        origin = supply.origin_of(name)
        assert origin is not None
        assert origin.steps in message
        for file in supply.files_of(name, parameters):
            assert file.path.rstrip("/") in message
            assert file.digest in message
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
    monkeypatch.setattr(kind("cifar10"), "files", lambda self: ())
    archive.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        ValueError, match=r"cifar-10-binary\.tar\.gz .* it is truncated, or another"
    ):
        prepare("cifar10", 32, SMALL, 0)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: b"<html>" + content, "is not a MATLAB 5 file"),
        (lambda content: content[:127], "is not a MATLAB 5 file"),
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
    with pytest.raises(ValueError, match=r"evil\.tar\.gz: wanted is not a regular file"):
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
    assert [left.name for left in tmp_path.iterdir()] == ["large.tar.gz"]
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("wanted", bytes(100_000))
    with zipfile.ZipFile(tmp_path / "bomb.zip") as bomb:
        with pytest.raises(ValueError, match="100000 bytes, more than 500"):
            archives.zip_member(bomb, "wanted", 500)
        with pytest.raises(ValueError, match="no member other"):
            archives.zip_member(bomb, "other")


def test_pickles_are_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish("medmnist_blood", tmp_path, monkeypatch)
    monkeypatch.setattr(kind("medmnist_blood"), "files", lambda self: ())
    path = tmp_path / "medmnist_blood/bloodmnist.npz"
    monkeypatch.setattr(kind("medmnist_blood"), "listing", lambda self, folder: read(path))
    from gradsiege.datasets.formats.medmnist import list_npz

    def read(file: Path) -> Listing:
        return list_npz(file, ("a", "b"))

    evil = {
        f"{part}_{kind}": np.array([{}], dtype=object)
        for part in ("train", "val", "test")
        for kind in ("labels", "images")
    }
    np.savez(path, **evil)
    with pytest.raises(
        ValueError, match=r"bloodmnist\.npz is not a file of MedMNIST: Object arrays"
    ):
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
    refused(b"\0\0\x0d\x01\0\0\0\x01abcd", "not an IDX file of bytes")
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
        with pytest.raises(ValueError, match=f"{name} is not an image that can be read"):
            pictures.decode(tmp_path / name, name)
    with pytest.raises(ValueError, match=r"none\.png is missing"):
        pictures.decode(tmp_path / "none.png", "none.png")
    monkeypatch.setattr(pictures, "MOST_PIXELS", 399)
    with pytest.raises(ValueError, match="20 by 20 pixels, more than 399"):
        pictures.decode(tmp_path / "x.png", "x.png")


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file that claims a size, with some chunks before it ends."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n"
    for name, body in (header, *chunks, (b"IDAT", zlib.compress(bytes(99))), (b"IEND", b"")):
        content += struct.pack(">I", len(body)) + name + body
        content += struct.pack(">I", zlib.crc32(name + body))
    return content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (png(100_000, 100_000), "is not an image that can be read: Image size .* exceeds limit"),
        (png(12_000, 12_000), "is 12000 by 12000 pixels, more than"),
        (
            png(4, 4, (b"zTXt", b"k\0\0" + zlib.compress(bytes(2**27)))),
            "is not an image that can be read: Decompressed data too large",
        ),
    ],
    ids=["gigapixels", "more than any photograph", "text"],
)
def test_a_small_file_that_unpacks_to_a_huge_image_is_refused(content: bytes, words: str) -> None:
    assert len(content) < 200_000
    with pytest.raises(ValueError, match=f"bomb.png {words}"):
        pictures.decode_bytes(content, "bomb.png")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "reading", [None, pictures.Reading(background="white", upright=True, user_files=True)]
)
def test_damage_of_any_sort_is_an_error_that_names_the_image(
    reading: pictures.Reading | None,
) -> None:
    """Bytes of small files are changed at random; what can still be read has the size of an image."""
    random = np.random.default_rng(0)
    for form in pictures.FORMATS:
        stream = io.BytesIO()
        Image.fromarray(noise(12, 12, 3)).save(stream, form)
        whole = np.frombuffer(stream.getvalue(), dtype=np.uint8)
        for _ in range(150):
            damaged = whole.copy()
            places = random.integers(0, min(len(damaged), 150), 3)
            damaged[places] = random.integers(0, 256, 3)
            stream = io.BytesIO(damaged.tobytes())
            try:
                assert pictures.decode(stream, "x.image", reading).ndim in (2, 3)
            except ValueError as error:
                assert str(error).startswith("x.image "), error  # noqa: PT017


def test_names_and_sizes_in_a_zip_archive_are_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "slip.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../escaped", b"abc")
        archive.writestr("wanted", bytes(100_000))
    # The directory of the archive claims ten bytes where a hundred thousand are.
    place = path.read_bytes().rindex(b"PK\x01\x02")
    content = bytearray(path.read_bytes())
    content[place + 24 : place + 28] = struct.pack("<I", 10)
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        assert archives.zip_member(archive, "../../escaped") == b"abc"
        with pytest.raises(ValueError, match="wanted cannot be read"):
            archives.zip_member(archive, "wanted", 500)
    assert [left.name for left in tmp_path.iterdir()] == ["slip.zip"]
    assert not (tmp_path.parent.parent / "escaped").exists()


def test_arrays_that_claim_to_be_huge_are_refused(tmp_path: Path) -> None:
    from gradsiege.datasets.formats.medmnist import list_npz

    def written(shape: str, images: str) -> Path:
        with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
            for part in ("train", "val", "test"):
                archive.writestr(f"{part}_labels.npy", array("<i8", shape) + bytes(16))
                archive.writestr(f"{part}_images.npy", array("|u1", images))
        return tmp_path / "x.npz"

    def array(kind: str, shape: str) -> bytes:
        text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text

    with pytest.raises(ValueError, match=r"x\.npz is not a file of MedMNIST"):
        list_npz(written("(1000000000000000, 1)", "(2, 28, 28)"), ("a", "b"))
    listing = list_npz(written("(2, 1)", "(2, 1000000000, 1000000000)"), ("a", "b"))
    with pytest.raises(ValueError, match=r"x\.npz: train_images\.npy is uint8 \(2, 1000000000"):
        next(listing.read(np.array([0])))


@pytest.mark.parametrize(
    "path", ["../secret.png", "/etc/secret.png", "a/../../b.png", "a\\b.png", ""]
)
def test_a_manifest_cannot_lead_out_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setenv(supply.ROOT_VARIABLE, str(tmp_path))
    table(tmp_path / "list.csv", ("path", "label"), ("a.png", "x"), (path, "y"))
    with pytest.raises(ValueError, match=r"list\.csv, line 3: .* is not a path inside its folder"):
        listed("image_manifest", {"file": "list.csv"})
    with pytest.raises(StudyError, match="is not a path inside its folder"):
        supply.inside(path)


def test_a_manifest_is_read_strictly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(supply.ROOT_VARIABLE, str(tmp_path))

    def refused(words: str, *rows: tuple[str, ...]) -> None:
        table(tmp_path / "list.csv", *rows)
        with pytest.raises(ValueError, match=words):
            listed("image_manifest", {"file": "list.csv"})

    refused("the columns path and label are needed", ("path", "class"), ("a.png", "x"))
    refused("lists an image twice", ("path", "label"), ("a.png", "x"), ("a.png", "y"))
    refused("line 2: too many or too few", ("path", "label"), ("a.png", "x", "y"))
    refused("line 2: part 'vall' is neither", ("path", "label", "part"), ("a.png", "x", "vall"))
