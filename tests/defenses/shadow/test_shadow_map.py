"""Shadow's equations against the released numbers and against small cases by hand."""

import math

import pytest
import torch

from gradsiege.defenses.shadow import map as sm

torch.set_num_threads(1)
CHEST_MEAN, CHEST_DEVIATION = 0.5329, 0.2534


@pytest.fixture(scope="module")
def released_maps() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A 224 px radiograph with a white pixel, a map that holds each of the levels 0..255 alike often, and a CAM."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 1, 224, 224, generator=generator)
    image.view(-1)[0] = 1.0
    levels = torch.arange(256.0).repeat(196)[torch.randperm(224 * 224, generator=generator)]
    uniform = levels.reshape(1, 1, 224, 224).expand(1, 3, 224, 224)
    cam = torch.rand(1, 224, 224, generator=generator)
    return image.expand(1, 3, 224, 224), sm.spatial_softmax(uniform / 20), cam


def pixel_noise(maps: tuple[torch.Tensor, ...], progress: float) -> torch.Tensor:
    image, sensitivity, cam = maps
    saliency = sm.flat_saliency_map(cam, 0.3, 20.0)
    weight = sm.saliency_weight(progress, 0.1, 0.5)
    pattern = sm.spare(sensitivity, saliency, weight, signed=True)
    normalised = (image - CHEST_MEAN) / CHEST_DEVIATION
    return sm.noise(normalised, pattern, sm.strength(progress, 0.19)) * CHEST_DEVIATION


@pytest.mark.parametrize(
    ("round_number", "peak", "rms", "psnr"),
    [
        (0, 0.089, 0.018, 35.1),
        (25, 0.114, 0.023, 32.9),
        (50, 0.146, 0.032, 30.0),
        (99, 0.239, 0.051, 25.8),
    ],
)
def test_noise_of_the_released_constants(
    released_maps, round_number: int, peak: float, rms: float, psnr: float
) -> None:
    noise = pixel_noise(released_maps, round_number / 100)
    found = float(noise.square().mean())
    assert noise.max().item() == pytest.approx(peak, abs=6e-4)
    assert math.sqrt(found) == pytest.approx(rms, abs=6e-4)
    assert -10 * math.log10(found) == pytest.approx(psnr, abs=0.06)


def test_noise_of_the_map_alone_follows_the_closed_form(released_maps) -> None:
    """Of equally frequent levels u, the mean of exp(-2 (255 - u) / 20) is a geometric series."""
    image, sensitivity, _ = released_maps
    noise = sm.noise(image, sensitivity, 0.19)
    series = (1 - math.exp(-25.6)) / (1 - math.exp(-0.1)) / 256
    assert noise.square().mean().sqrt() / 0.19 == pytest.approx(math.sqrt(series), rel=1e-4)


def test_sensitivity_is_positive_sums_to_one_and_favours_what_is_reconstructed_well() -> None:
    grey = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    error = grey.expand(3, 3, 16, 16)
    before = error.clone()
    found = sm.sensitivity_map(error, 20.0)
    assert torch.equal(error, before)
    assert (found > 0).all()
    assert torch.allclose(found.sum((1, 2, 3)), torch.ones(3), atol=1e-5)
    for image in range(3):
        order = grey[image].flatten().argsort()
        ranked = found[image, 0].flatten()[order]
        assert (ranked.diff() <= 1e-9).all()
    assert torch.equal(found[:, 0], found[:, 1])


def test_equalised_map_is_uniform() -> None:
    values = torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(2))
    equalised = sm.equalise(values)
    assert equalised.min() == 0
    assert equalised.max() == 255
    levels = torch.arange(0, 256, 8.0)
    shares = torch.stack([(equalised <= level).float().mean() for level in levels])
    # No bin of a Gaussian's histogram holds more than 1.5 % of it.
    assert (shares - levels / 255).abs().max() < 0.02
    assert torch.equal(sm.equalise(torch.ones(2, 1, 2, 2)), torch.zeros(2, 1, 2, 2))


def test_equalisation_couples_the_batch_as_the_release_does() -> None:
    good, bad = torch.linspace(5, 6, 256), torch.linspace(0, 1, 256)
    both = sm.equalise(torch.stack([good, bad]))
    assert both[0].min() > both[1].max()


def test_scrambled_map_holds_stretched_rows_of_another_place() -> None:
    rows = torch.arange(6.0).reshape(1, 1, 6, 1).expand(1, 1, 6, 6)
    scrambled = sm.scramble(rows, 3)
    assert scrambled.shape == (1, 3, 6, 6)
    assert scrambled[0, 0].unique().tolist() == [0, 1]
    assert scrambled[0, 2].unique().tolist() == [4, 5]
    values = torch.rand(1, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    correlations = [
        torch.corrcoef(torch.stack([values.flatten(), channel.flatten()]))[0, 1].abs()
        for channel in sm.scramble(values, 3)[0]
    ]
    assert max(correlations) < 0.1
    assert torch.equal(values.flatten().sort().values, sm.scramble(values, 1).flatten().sort()[0])


def test_memory_by_hand() -> None:
    first, second, third = torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([0.0])
    memory = sm.remember(None, first, 0.1)
    assert torch.equal(memory, first)
    memory = sm.remember(memory, second, 0.1)
    assert memory.item() == pytest.approx(0.1 * 1 + 0.9 * 2)
    assert sm.remember(memory, third, 0.1).item() == pytest.approx(0.1 * 1.9)


@pytest.mark.parametrize("shape", [(5, 5), (16, 16), (7, 9)])
def test_exactly_the_top_thirty_percent_stay(shape: tuple[int, int]) -> None:
    values = torch.rand(2, *shape, generator=torch.Generator().manual_seed(3)) + 0.1
    top = sm.top_fraction(values, 0.3)
    count = math.floor(0.3 * shape[0] * shape[1])
    for image in range(2):
        kept = top[image] > 0
        assert kept.sum() == count
        assert torch.equal(top[image][kept], values[image][kept])
        assert values[image][kept].min() >= values[image][~kept].max()


def test_amplitude_schedule() -> None:
    assert [sm.saliency_weight(t / 100, 0.1, 0.5) for t in (0, 10, 37, 50, 99)] == [
        0.1,
        0.1,
        0.37,
        0.5,
        0.5,
    ]
    assert sm.strength(0.5, 0.19) == pytest.approx(0.19 * math.exp(0.5))


def test_saliency_has_the_peak_of_the_map_and_survives_an_empty_cam() -> None:
    sensitivity = sm.spatial_softmax(torch.randn(2, 3, 8, 8))
    cam = torch.stack([torch.rand(8, 8), torch.zeros(8, 8)])
    saliency = sm.saliency_map(cam, sensitivity, 0.3)
    assert saliency[0].max() == sensitivity[0].max()
    assert torch.equal(saliency[1], torch.zeros(1, 8, 8))


def test_released_saliency_is_all_but_constant() -> None:
    cam = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(4))
    flat = sm.flat_saliency_map(cam, 0.3, 20.0)
    assert flat.sum().item() == pytest.approx(1, abs=1e-5)
    assert flat.max() / flat.min() < math.exp(1 / 20) + 1e-6


def test_sparing_never_adds_noise_where_the_saliency_is_highest() -> None:
    sensitivity = sm.spatial_softmax(3 * torch.randn(1, 3, 8, 8))
    saliency = sm.saliency_map(torch.rand(1, 8, 8), sensitivity, 0.3)
    spared = sm.spare(sensitivity, saliency, 0.5)
    assert (spared >= 0).all()
    assert (spared <= sensitivity).all()
    assert (sm.spare(sensitivity, saliency, 0.5, signed=True) < 0).any()


def test_peak_of_the_noise_is_a_share_of_the_peak_of_each_image() -> None:
    images = torch.tensor([[[[1.0, 2.0]]], [[[-3.0, -1.0]]]])
    pattern = torch.tensor([[[[0.2, 0.1]]], [[[0.1, 0.4]]]])
    noise = sm.noise(images, pattern, 0.5)
    assert torch.allclose(noise, torch.tensor([[[[1.0, 0.5]]], [[[0.125, 0.5]]]]))


def test_a_pattern_that_vanishes_is_no_noise() -> None:
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    pattern = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)])
    found = sm.noise(images, pattern, 0.5)
    assert (found[0] == 0).all()
    torch.testing.assert_close(found[1], (0.5 * images[1].max()).expand_as(found[1]))
