"""ATS: every operation against Pillow, the released pool, and which policy an image gets."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from torch import Tensor

from gradsiege import defenses
from gradsiege.defenses.base import Client, Defense
from gradsiege.errors import StudyError
from gradsiege.federated.client import run_client
from gradsiege.protocol import ats_operations
from gradsiege.protocol.ats_operations import apply
from gradsiege.protocol.ats_policies import POOL, parse_policy
from gradsiege.protocol.local_update import Step

SIDE = 32
HALF = 0.5


def picture(channels: int = 3) -> Tensor:
    """A smooth image on 256 levels, so that a rounding difference moves no edge far."""
    y, x = torch.meshgrid(torch.linspace(0, 1, SIDE), torch.linspace(0, 1, SIDE), indexing="ij")
    waves = [
        0.15 + 0.7 * (0.5 + 0.5 * torch.sin(5 * x + k) * torch.cos(4 * y - k)) for k in (0, 1, 2)
    ]
    return (torch.stack(waves[:channels]) * 255).round() / 255


def speckle(channels: int = 3) -> Tensor:
    """An image without any smoothness, on 201 of 256 levels."""
    generator = torch.Generator().manual_seed(8)
    return torch.randint(20, 221, (channels, SIDE, SIDE), generator=generator) / 255


def as_pillow(image: Tensor) -> Image.Image:
    array = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(array if array.shape[2] == 3 else array[:, :, 0])


def as_levels(image: Image.Image) -> np.ndarray:
    array = np.asarray(image).astype(np.float64)
    return array.transpose(2, 0, 1) if array.ndim == 3 else array[None]


def by_pillow(operation: str, step: int, sign: int, image: Image.Image) -> Image.Image:
    """The release's operation (PIL on bytes) with its released range."""
    share = step / 9
    factor = 1 + sign * 0.5 * share
    side = image.size[0]
    affine, bicubic = Image.Transform.AFFINE, Image.Resampling.BICUBIC
    enhancers = {
        "brightness": ImageEnhance.Brightness,
        "colour": ImageEnhance.Color,
        "contrast": ImageEnhance.Contrast,
        "sharpness": ImageEnhance.Sharpness,
    }
    if operation in enhancers:
        return enhancers[operation](image).enhance(factor)
    shear, shift = sign * 0.3 * share, sign * 150 / 331 * share * side
    moves = {
        "shear_x": ((1, shear, 0, 0, 1, 0), bicubic),
        "shear_y": ((1, 0, 0, shear, 1, 0), bicubic),
        "translate_x": ((1, 0, shift, 0, 1, 0), Image.Resampling.NEAREST),
        "translate_y": ((1, 0, 0, 0, 1, shift), Image.Resampling.NEAREST),
    }
    if operation in moves:
        matrix, resampling = moves[operation]
        return image.transform(image.size, affine, matrix, resampling)
    if operation == "rotate":
        return image.rotate(30 * share, fillcolor=(128,) * len(image.getbands()))
    plain = {
        "invert": ImageOps.invert,
        "autocontrast": ImageOps.autocontrast,
        "equalize": ImageOps.equalize,
        "posterize": lambda img: ImageOps.posterize(img, round(8 - 4 * share)),
        "solarize": lambda img: ImageOps.solarize(img, 256 - 256 * share),
    }
    return plain[operation](image)


OPERATIONS = sorted({name for name, _ in POOL} | {"shear_x"})


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_equals_pillows(operation: str, sign: int, channels: int) -> None:
    if operation == "rotate" and channels == 1:
        channels = 3  # Pillow wants a number instead of a tuple there
    image = picture(channels) if operation.startswith("shear") else speckle(channels)
    for step in (0, 2, 5, 9):
        found = apply(operation, step, image, sign)
        assert found.shape == image.shape
        assert found.min() >= 0
        assert found.max() <= 1
        expected = as_levels(by_pillow(operation, step, sign, as_pillow(image)))
        off = np.abs((found * 255).numpy() - expected)
        if operation.startswith("shear"):
            # Another bicubic kernel (a = -0.5, PyTorch's is -0.75), and a corner that rounds to outside.
            assert (off > 2).mean() < 0.002, (step, off.max())
        else:
            # Pillow rounds or cuts to whole levels after every sum.
            assert off.max() < 1.1, (step, off.max())


@pytest.mark.parametrize(("operation", "step"), [("brightness", 0), ("solarize", 0), ("rotate", 0)])
def test_step_zero_is_the_identity(operation: str, step: int) -> None:
    image = picture()
    torch.testing.assert_close(apply(operation, step, image, 1), image)


def test_operations_differ_from_the_identity_at_the_last_step() -> None:
    for operation in OPERATIONS:
        assert (apply(operation, 9, speckle(), 1) - speckle()).abs().max() > 0.02, operation


def test_smoothing_is_pillows_filter() -> None:
    smooth = ats_operations.sharpness(speckle(), 0.0)
    expected = as_levels(as_pillow(speckle()).filter(ImageFilter.SMOOTH))
    assert np.abs((smooth * 255).numpy() - expected).max() <= 1


def test_the_pool_is_the_released_one() -> None:
    assert len(POOL) == 50
    assert POOL[3] == ("translate_x", 9)
    assert POOL[43] == ("translate_y", 3)
    assert {step for _, step in POOL} <= set(range(10))


def test_policies_are_read_as_the_authors_write_them() -> None:
    assert parse_policy("3-1-7") == (3, 1, 7)
    assert parse_policy("0") == (0,)
    for wrong in ("3-1-7-2", "50", "-1", "", "3-x"):
        with pytest.raises(StudyError, match=f"ats: '{wrong}' is not a policy"):
            defenses.build("ats", {"policies": (wrong,)})


def augmented(client: Client, defense: Defense) -> Tensor:
    step = Step(client.model, client.parameters, client.buffers, client.images, client.labels)
    images, labels = defense.transform_batch(client.images, client.labels, step, client)
    assert labels is client.labels
    return images


def test_a_policy_is_applied_in_its_order(bystander: Callable[[int], Client]) -> None:
    # Entries without a sign: equalize, then invert, then solarize.
    client = replace(bystander(0), images=picture()[None])
    found = augmented(client, defenses.build("ats", {"policies": ("16-0-37",)}))[0]
    image = picture()
    for operation, step in (("equalize", 5), ("invert", 7), ("solarize", 4)):
        image = apply(operation, step, image, 1)
    assert torch.equal(found, image)
    other = apply("equalize", 5, apply("invert", 7, picture(), 1), 1)
    assert not torch.equal(found, apply("solarize", 4, other, 1))


def test_every_image_gets_one_of_the_policies(bystander: Callable[[int], Client]) -> None:
    client = replace(bystander(0), images=picture()[None].repeat(200, 1, 1, 1))
    found = augmented(client, defenses.build("ats", {"policies": ("0", "8-0")}))
    choices = [1 - picture(), 1 - apply("autocontrast", 5, picture(), 1)]
    counts = [sum(torch.equal(image, choice) for image in found) for choice in choices]
    assert sum(counts) == 200
    assert abs(counts[0] - 100) < 4 * (200 * HALF * HALF) ** 0.5


def test_both_signs_come_up(bystander: Callable[[int], Client]) -> None:
    client = replace(bystander(0), images=picture()[None].repeat(100, 1, 1, 1))
    found = augmented(client, defenses.build("ats", {"policies": ("15",)}))
    darker = int((found.mean((1, 2, 3)) < picture().mean()).sum())
    assert abs(darker - 50) < 4 * (100 * HALF * HALF) ** 0.5


def test_without_policies_every_image_gets_three_random_entries(
    bystander: Callable[[int], Client],
) -> None:
    client = replace(bystander(0), images=picture()[None].repeat(40, 1, 1, 1))
    found = augmented(client, defenses.build("ats", {"policies": ()}))
    assert len({image.numpy().tobytes() for image in found}) > 30
    assert found.min() >= 0
    assert found.max() <= 1


def test_the_update_is_that_of_the_augmented_batch(party: Callable[..., Client]) -> None:
    defense = defenses.build("ats", {})
    defended, _ = run_client(party(seed=4), defense)
    seen = augmented(party(seed=4), defense)
    none = defenses.build("none", {})
    expected, _ = run_client(replace(party(), images=seen), none)
    clean, _ = run_client(party(), none)
    assert all(torch.equal(defended[name], value) for name, value in expected.items())
    assert not torch.equal(defended["body.head.weight"], clean["body.head.weight"])
