"""Every mode of a picture has a decided behaviour: depth, transparency, orientation, frames."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from published import SMALL, noise, publish

from gradsiege.datasets import prepare
from gradsiege.datasets.formats import pictures
from gradsiege.datasets.formats.pictures import Reading, Seen

OWN = Reading(background="white", upright=True, user_files=True)
GREY, COLOUR = noise(6, 8), noise(6, 8, 3)


def coded(image: Image.Image, kind: str = "PNG", **options: Any) -> io.BytesIO:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    stream.seek(0)
    return stream


def sixteen_bit_colour(pixels: np.ndarray) -> io.BytesIO:
    """A PNG file of 16-bit RGB, which the library cannot write."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    content = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        content += (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )
    return io.BytesIO(content)


def read(stream: io.BytesIO, reading: Reading = OWN) -> tuple[np.ndarray, list[str]]:
    seen = Seen(reading)
    pixels = pictures.decode(stream, "x", reading, seen)
    return pixels, seen.sentences()


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_deep_grey_is_scaled_by_its_stated_depth(bits: int) -> None:
    deep = GREY.astype(np.uint16) << (bits - 8)
    deep[0, 0] = 2**bits - 1
    pixels, remarks = read(coded(Image.fromarray(deep)), Reading(bits, "white", user_files=True))
    expected = GREY.copy()
    expected[0, 0] = 255
    np.testing.assert_array_equal(pixels, expected)
    assert remarks == []


def test_deep_grey_that_would_be_almost_black_is_refused_with_its_cause() -> None:
    deep = Image.fromarray(GREY.astype(np.uint16) << 4)
    with pytest.raises(
        ValueError, match=r"values of 16 bits, but none is larger than \d+ \(x\): .* Set `bits: 12`"
    ):
        read(coded(deep))
    # As stated, and in a published set, whose bytes stay, it is said.
    for reading in (Reading(16, "white", user_files=True), Reading()):
        _, (remark,) = read(coded(deep), reading)
        assert "the upper 4 bits are not used" in remark
    _, (remark,) = read(coded(Image.fromarray(GREY.astype(np.uint16) << 6)))
    assert "the upper 2 bits are not used" in remark
    brightest = np.full((4, 4), 4080, dtype=np.uint16)
    with pytest.raises(
        ValueError, match="x holds the value 4080, which 10 bits cannot; set `bits` to 12"
    ):
        read(coded(Image.fromarray(brightest)), Reading(10, user_files=True))


def test_twelve_bits_end_in_a_sentence_and_not_in_black_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = publish("image_folder", tmp_path, monkeypatch)
    for place, path in enumerate(sorted((tmp_path / "mine").rglob("*.png"))):
        Image.fromarray(noise(20, 20, seed=place).astype(np.uint16) << 4).save(path)
    with pytest.raises(ValueError, match="Set `bits: 12`"):
        prepare("image_folder", 16, SMALL, 0, parameters)
    prepared = prepare("image_folder", 16, SMALL, 0, {**parameters, "bits": 12})
    assert 100 < prepared.splits["train"].images.mean() < 150


@pytest.mark.parametrize("name", ["image_folder", "image_manifest"])
@pytest.mark.parametrize("bits", [{}, {"bits": 16}])
def test_eight_bits_in_sixteen_are_not_taken_for_repetitions(
    name: str, bits: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their upper eight bits are black, and equal."""
    parameters = publish(name, tmp_path, monkeypatch)
    for place, path in enumerate(sorted(tmp_path.rglob("*.png"))):
        dim = np.minimum(noise(20, 20, seed=place), 254)
        dim[0, 0] = 254
        Image.fromarray(dim.astype(np.uint16)).save(path)
    for counts in (SMALL, dict.fromkeys(SMALL, 1)):
        with pytest.raises(
            ValueError, match=r"values of 16 bits, but none is larger than 254 .*[sS]et `bits: 8`"
        ):
            prepare(name, 16, counts, 0, {**parameters, **bits})
    prepare(name, 16, SMALL, 0, {**parameters, "bits": 8})


def test_colours_of_sixteen_bits_keep_the_upper_eight_and_say_so() -> None:
    deep = COLOUR.astype(np.uint16) << 8
    pixels, remarks = read(sixteen_bit_colour(deep))
    np.testing.assert_array_equal(pixels, COLOUR)
    assert remarks == ["colours of 16 bits keep their upper 8: 1, such as x"]
    with pytest.raises(ValueError, match=r"almost black\. Convert them to 8 bits"):
        read(sixteen_bit_colour(deep >> 4))
    with pytest.raises(
        ValueError, match=r"x has colours of 16 bits.* `bits: 12` cannot be applied"
    ):
        read(sixteen_bit_colour(deep), Reading(12, user_files=True))


def test_eight_bits_are_as_they_are_whatever_depth_is_stated() -> None:
    pixels, remarks = read(coded(Image.fromarray(GREY)), Reading(12, user_files=True))
    np.testing.assert_array_equal(pixels, GREY)
    assert remarks == ["pictures have 8 bits, and `bits` does not concern them: 1, such as x"]


def test_dark_pictures_and_those_of_one_colour_are_named() -> None:
    _, remarks = read(coded(Image.fromarray(GREY // 4)))
    assert "no value is larger than 58 of 255" in remarks[0]
    _, remarks = read(coded(Image.new("RGB", (4, 4), (200, 200, 200))))
    assert remarks == ["pictures of one colour alone: 1, such as x"]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_thirty_two_bits_are_refused(mode: str) -> None:
    image = Image.fromarray(GREY.astype(np.int32 if mode == "I" else np.float32))
    with pytest.raises(ValueError, match="x has pixels of 32 bits; convert it to 8 bits"):
        read(coded(image, "TIFF"))


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("1", "PNG"),
        ("L", "JPEG"),
        ("P", "PNG"),
        ("CMYK", "TIFF"),
        ("CMYK", "JPEG"),
        ("RGBX", "TIFF"),
        ("YCbCr", "TIFF"),
    ],
)
def test_other_opaque_modes_are_grey_or_colour_as_the_library_converts_them(
    mode: str, kind: str
) -> None:
    image = Image.fromarray(COLOUR).convert(mode)
    stream = coded(image, kind)
    expected = Image.open(io.BytesIO(stream.getvalue()))
    expected = expected if expected.mode == "L" else expected.convert("RGB")
    pixels, remarks = read(stream)
    np.testing.assert_array_equal(pixels, np.asarray(expected))
    assert remarks == []


@pytest.mark.parametrize(("background", "level"), [("white", 255), ("grey", 128), ("black", 0)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_transparent_pictures_are_laid_on_the_background(
    mode: str, background: str, level: int
) -> None:
    options: dict[str, Any] = {}
    image = Image.new("RGBA", (4, 4), (90, 90, 90, 255))
    image.putpixel((0, 0), (10, 10, 10, 0))
    if mode in ("P", "L"):
        image = image.convert("RGB").convert("L")
        image = image.convert("P") if mode == "P" else image
        options["transparency"] = 10
    else:
        image = image.convert(mode)
    pixels, remarks = read(coded(image, **options), Reading(background=background, user_files=True))
    assert pixels[0, 0].tolist() == [level] * 3
    assert pixels[1, 1].tolist() == [90] * 3
    assert f"transparent pictures are laid on {background}: 1, such as x" in remarks


def test_opaque_pictures_with_an_alpha_channel_are_what_they_were() -> None:
    image = Image.fromarray(COLOUR).convert("RGBA")
    pixels, remarks = read(coded(image))
    np.testing.assert_array_equal(pixels, COLOUR)
    assert remarks == []


def test_published_sets_drop_transparency_and_orientation_as_before() -> None:
    image = Image.fromarray(np.dstack([COLOUR, np.zeros((6, 8), np.uint8)]))
    pixels, _ = read(coded(image), Reading())
    np.testing.assert_array_equal(pixels, COLOUR)
    assert read(turned(6), Reading())[0].shape == (6, 8, 3)


def turned(orientation: int) -> io.BytesIO:
    image = Image.fromarray(COLOUR)
    exif = image.getexif()
    exif[0x0112] = orientation
    return coded(image, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_of_ones_own_are_upright(orientation: int) -> None:
    from PIL import ImageOps

    expected = ImageOps.exif_transpose(Image.open(turned(orientation)))
    pixels, remarks = read(turned(orientation))
    np.testing.assert_array_equal(pixels, np.asarray(expected))
    assert bool(remarks) == (orientation != 1)


def test_deep_grey_is_turned_too() -> None:
    image = Image.fromarray(GREY.astype(np.uint16) << 8)
    exif = image.getexif()
    exif[0x0112] = 6
    pixels, _ = read(coded(image, exif=exif))
    np.testing.assert_array_equal(pixels, np.rot90(GREY, 3))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_of_several_frames_the_first_is_read_and_said(kind: str) -> None:
    frames = [Image.fromarray(noise(16, 16, 3, seed=seed)) for seed in range(3)]
    options = {"lossless": True} if kind == "WEBP" else {}
    stream = coded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    pixels, remarks = read(stream)
    np.testing.assert_array_equal(pixels, np.asarray(frames[0]))
    assert "of pictures with several frames or pages the first is read: 1, such as x" in remarks


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_a_truncated_picture_is_named(kind: str) -> None:
    content = coded(Image.fromarray(noise(64, 64, 3)), kind).getvalue()
    with pytest.raises(ValueError, match="x is not an image that can be read"):
        read(io.BytesIO(content[: len(content) // 2]))


def test_a_deep_picture_with_a_transparent_value_is_refused() -> None:
    image = Image.fromarray(GREY.astype(np.uint16) << 8)
    content = coded(image).getvalue()
    chunk = b"tRNS" + struct.pack(">H", 7)
    place = content.index(b"IDAT") - 4
    added = struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk))
    with pytest.raises(ValueError, match="x has 16 bits and a transparent value"):
        read(io.BytesIO(content[:place] + added + content[place:]))
