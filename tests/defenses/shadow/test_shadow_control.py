"""Shadow's controls: the same distortion of every image, and in each exactly one thing that is not Shadow's."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gradsiege.defenses.base import Client
from gradsiege.defenses.shadow import Shadow
from gradsiege.defenses.shadow import map as shadow_map
from gradsiege.defenses.shadow.control import Maps, equal_distortion, shape_of, shuffle
from gradsiege.models import ModelSpec, build
from gradsiege.models.layers import initialize
from gradsiege.priors.shadow_generator import ShadowGeneratorNetwork
from gradsiege.protocol.local_update import LocalTraining, Step, Tensors, split_state

torch.set_num_threads(1)
CHEAP = {"shadow_steps": 1, "latent_steps": 3}
MATCHED = ["gaussian", "shuffled_map", "map_only", "cam_only"]
DEVIATION = torch.tensor([0.2, 0.25, 0.3])
KEYS = ["a", "b"]


@pytest.fixture(scope="module")
def weights() -> Tensors:
    network = ShadowGeneratorNetwork(8, 4, 3, 16)
    initialize(network, torch.Generator().manual_seed(7))
    return dict(network.state_dict())


@pytest.fixture
def maps() -> Maps:
    generator = torch.Generator().manual_seed(4)
    sensitivity = shadow_map.spatial_softmax(3 * torch.randn(2, 1, 8, 8, generator=generator))
    sensitivity = sensitivity.expand(-1, 3, -1, -1)
    cam = torch.rand(2, 8, 8, generator=generator)
    return Maps(sensitivity, shadow_map.saliency_map(cam, sensitivity, 0.3), 0.5, False)


def draw(control: str, maps: Maps, seed: int = 0) -> Tensor:
    return shape_of(control, maps, DEVIATION, KEYS, torch.Generator().manual_seed(seed))


def perturbation(weights: Tensors, number: int = 0, **settings: Any) -> tuple[Tensor, Tensor]:
    """Return (images, what the defense adds to them) in one round of a client."""
    model = build(ModelSpec("convnet", {"width": 4}, 3, 3, 16), torch.Generator().manual_seed(0))
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 2, 1])
    training = LocalTraining("fedavg", 4, 4, 1, 0.1, "train")
    generator = torch.Generator().manual_seed(2)
    state = split_state(model)
    client = Client(model, *state, images, labels, training, generator, number, 100)
    defense = Shadow(**CHEAP, **settings, pretrained=weights)
    step = Step(model, *state, images, labels)
    return images, defense.transform_batch(images, labels, step, client)[0] - images


def rms(noise: Tensor) -> Tensor:
    return noise.double().square().flatten(1).mean(1).sqrt()


@pytest.mark.parametrize("control", MATCHED)
@pytest.mark.parametrize("unclamped", [True, False])
def test_every_image_is_distorted_as_much_as_by_the_papers_noise(
    weights: Tensors, control: str, unclamped: bool
) -> None:
    images, own = perturbation(weights, 99, unclamped=unclamped)
    _, other = perturbation(weights, 99, unclamped=unclamped, control=control)
    # Pixels near 1 carry the error of a float32 into the difference.
    assert torch.allclose(rms(own), rms(other), rtol=2e-5)
    assert (own - other).abs().max() > 1e-3
    if not unclamped:
        assert (images + other).min() >= 0
        assert (images + other).max() <= 1
        # The limit was really met, so that equality is not that of the noise before it.
        assert ((images + other) >= 1).any()


def test_a_factor_is_found_even_if_most_of_the_noise_is_cut_off() -> None:
    images = torch.full((2, 1, 4, 4), 0.9)
    images[1, 0, 0] = 0.2
    own = torch.full_like(images, 0.095)
    shape = torch.rand(images.shape, generator=torch.Generator().manual_seed(0)) + 0.01
    added = equal_distortion(images, own, shape, clamped=True)
    moved = (images + added).clamp(0, 1) - images
    assert torch.allclose(rms(moved), rms(own), rtol=1e-5)
    assert ((images + added) > 1).float().mean() > 0.5


def test_an_image_without_room_for_the_shape_gets_what_fits() -> None:
    images = torch.tensor([[[[1.0, 0.5]]]])
    own = torch.tensor([[[[0.0, 0.3]]]])
    onto_white = torch.tensor([[[[1.0, 0.0]]]])
    added = equal_distortion(images, own, onto_white, clamped=True)
    assert torch.isfinite(added).all()
    assert torch.equal((images + added).clamp(0, 1), images)
    nothing = equal_distortion(images, torch.zeros_like(own), onto_white, clamped=False)
    assert torch.equal(nothing, torch.zeros_like(own))


def test_a_shuffled_map_has_the_same_histogram_in_other_places(maps: Maps) -> None:
    shuffled = shuffle(maps.sensitivity, KEYS)
    before, after = maps.sensitivity.flatten(2), shuffled.flatten(2)
    assert torch.equal(before.sort().values, after.sort().values)
    assert torch.equal(after[:, 0], after[:, 1])
    for image in range(2):
        pair = torch.stack([before[image, 0], after[image, 0]])
        assert torch.corrcoef(pair)[0, 1].abs() < 0.4
    # An image keeps its places, whatever stands beside it; another image has others.
    assert torch.equal(shuffle(maps.sensitivity[1:], KEYS[1:]), shuffled[1:])
    same = maps.sensitivity[:1].expand(2, -1, -1, -1)
    one, two = shuffle(same, KEYS)
    assert not torch.equal(one, two)


def test_shuffling_leaves_the_saliency_where_it_is(maps: Maps) -> None:
    moved = shuffle(maps.sensitivity, KEYS)
    lost = moved - draw("shuffled_map", maps) / DEVIATION[:, None, None]
    wanted = torch.minimum(moved, 0.5 * maps.saliency)
    assert torch.allclose(lost, wanted, atol=1e-7)
    assert (wanted > 0).any()


def test_the_map_alone_is_proportional_to_n_and_blind_to_the_saliency(maps: Maps) -> None:
    alone = draw("map_only", maps)
    assert torch.allclose(alone, maps.sensitivity * DEVIATION[:, None, None])
    other = replace(maps, saliency=maps.saliency.flip(3))
    assert torch.equal(draw("map_only", other), alone)
    assert not torch.equal(maps.pattern(maps.sensitivity), other.pattern(maps.sensitivity))


def test_the_saliency_alone_is_constant_but_for_the_pixels_it_spares(maps: Maps) -> None:
    alone = draw("cam_only", maps) / DEVIATION[:, None, None]
    peak = maps.sensitivity.amax((1, 2, 3), keepdim=True)
    marked = (maps.saliency > 0).expand_as(alone)
    assert torch.allclose(alone[~marked], peak.expand_as(alone)[~marked])
    assert (alone < peak * 0.999)[marked].all()
    assert torch.allclose(alone.amin((1, 2, 3)), 0.5 * peak.flatten())
    uniform = replace(maps, sensitivity=peak.expand_as(alone))
    assert torch.allclose(draw("cam_only", uniform), draw("cam_only", maps))


def test_gaussian_noise_is_white_and_drawn_anew(maps: Maps) -> None:
    large = replace(maps, sensitivity=torch.rand(2, 3, 100, 100))
    noise = draw("gaussian", large)
    assert noise.mean().abs() < 0.02
    assert noise.std().item() == pytest.approx(1, abs=0.02)
    assert ((noise / noise.std()) ** 4).mean().item() == pytest.approx(3, abs=0.2)
    neighbours = (noise[..., 1:] * noise[..., :-1]).mean()
    channels = (noise[:, 0] * noise[:, 1]).mean()
    assert max(neighbours.abs(), channels.abs()) < 0.03
    assert not torch.equal(noise, draw("gaussian", large, seed=1))
    assert torch.equal(noise, draw("gaussian", replace(large, sensitivity=large.sensitivity / 2)))


def test_constant_amplitude_has_the_energy_of_the_growing_one(weights: Tensors) -> None:
    growing = [shadow_map.strength(number / 100, 0.19) for number in range(100)]
    constant = shadow_map.mean_strength(100, 0.19)
    assert constant**2 == pytest.approx(sum(value**2 for value in growing) / 100, rel=1e-12)
    closed = 0.19 * math.sqrt((math.e**2 - 1) / (math.exp(2 / 100) - 1) / 100)
    assert constant == pytest.approx(closed, rel=1e-12)
    settings = {"unclamped": True, "control": "constant_amplitude"}
    for number in (0, 99):
        _, own = perturbation(weights, number, unclamped=True)
        _, flat = perturbation(weights, number, **settings)
        assert torch.allclose(flat * growing[number], own * constant, atol=1e-6)


def test_the_control_is_disclosed(weights: Tensors) -> None:
    stated = Shadow(**CHEAP, control="gaussian", pretrained=weights).disclosure()
    assert stated["control"] == "gaussian"
