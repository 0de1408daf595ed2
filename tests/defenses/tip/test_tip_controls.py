"""TIP's controls: other channels and other frequencies, at the paper's noise energy or at a stated norm."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradsiege import defenses
from gradsiege.defenses.base import Client, Defense
from gradsiege.defenses.grad_cam import channel_coefficients, convolutions
from gradsiege.defenses.tip import Tip
from gradsiege.defenses.tip.energy import expected_energy, factors, unit_energy
from gradsiege.defenses.tip.noise import clip_gradient, masked_noise, noise_scale, spectrum_mask
from gradsiege.defenses.tip.ranking import select_channels, selected_count
from gradsiege.federated.client import run_client
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import LocalTraining, Step, Tensors, norm, split_state

torch.set_num_threads(1)
SELECTIONS = ("top", "random", "lowest", "all")
SPECTRA = ("high", "white", "dc")
CHOICES = list(itertools.product(SELECTIONS, SPECTRA))
RATE = 0.01


def network(name: str = "resnet18", **parameters: int) -> nn.Module:
    spec = ModelSpec(name, parameters or {"width": 8}, 10, 3, 16)
    return build(spec, torch.Generator().manual_seed(5))


def client(model: nn.Module, seed: int = 0) -> Client:
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    training = LocalTraining("fedsgd", 2, 2, 1, RATE, "eval")
    noise = torch.Generator().manual_seed(seed)
    return Client(model, *split_state(model), images, torch.tensor([1, 3]), training, noise)


class Clipped(Defense):
    """The clipping that all of them share, without any noise."""

    def transform_gradient(self, gradient: Tensors, step: Step, client: Client) -> Tensors:
        return clip_gradient(gradient, 5.0)


def noise_on_weights(model: nn.Module, name: str = "tip", seed: int = 0, **given: Any) -> Tensors:
    """What a defense adds to the trained weights; the clean ones come from the same clipped step."""
    clean, _ = run_client(client(model), Clipped())
    noised, _ = run_client(client(model, seed), defenses.build(name, given))
    return {key: RATE * (clean[key] - noised[key]) for key in clean}


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: layer.weight.shape for name, layer in convolutions(model).items()}


@pytest.mark.parametrize(("selection", "spectrum"), CHOICES)
def test_energy_in_closed_form_is_the_energy_of_drawn_noise(selection: str, spectrum: str) -> None:
    shape = torch.Size([40, 30, 3, 3])
    generator = torch.Generator().manual_seed(3)
    alpha = torch.randn(40, generator=generator)
    energies = []
    for _ in range(6):
        chosen = select_channels(alpha, 0.3, selection, generator)
        mask = spectrum_mask(3, 0.5, spectrum)
        noise = masked_noise(torch.Size([len(chosen), *shape[1:]]), mask, generator)
        energies.append(float(noise.square().sum()))
    expected = unit_energy(shape, 0.3, 0.5, selection, spectrum)
    freedom = 6 * expected  # each kept frequency of each kernel is one squared normal variable
    assert abs(sum(energies) / 6 / expected - 1) < 4 * math.sqrt(2 / freedom)


@pytest.mark.parametrize("name", ["resnet18", "lenet", "convnet", "vit_small"])
def test_matched_controls_have_the_papers_energy_layer_by_layer(name: str) -> None:
    small = {"lenet": {"channels": 7}, "vit_small": {"width": 12, "depth": 1, "heads": 1}}
    of_model = shapes(network(name, **small.get(name, {"width": 8})))
    paper = Tip(ratio=0.3)
    published = {
        layer: expected_energy({layer: shape}, paper, {layer: 0.02}, 3)
        for layer, shape in of_model.items()
    }
    for selection, spectrum in CHOICES:
        control = Tip(0.3, selection=selection, spectrum=spectrum, match_energy=True)
        factor = factors(of_model, control, 0.02, 3)
        for layer, shape in of_model.items():
            strength = {layer: 0.02 * factor[layer]}
            own = expected_energy({layer: shape}, control, strength, 3)
            assert math.isclose(own, published[layer], rel_tol=1e-12), (layer, control)


@pytest.mark.parametrize(("selection", "spectrum"), [("all", "dc"), ("random", "white")])
def test_matched_controls_add_noise_of_the_papers_norm(selection: str, spectrum: str) -> None:
    model = network(width=16)
    paper = float(norm(noise_on_weights(model, ratio=0.3)))
    choice: dict[str, Any] = {"ratio": 0.3, "selection": selection, "spectrum": spectrum}
    matched = float(norm(noise_on_weights(model, match_energy=True, **choice)))
    unmatched = float(norm(noise_on_weights(model, **choice)))
    assert abs(matched / paper - 1) < 0.03
    assert abs(unmatched / paper - 1) > 0.04


def test_without_a_control_nothing_is_scaled() -> None:
    of_model = shapes(network())
    for match in (False, True):
        assert set(factors(of_model, Tip(match_energy=match), 0.02, 3).values()) == {1.0}


@pytest.mark.parametrize("spectrum", SPECTRA)
def test_each_spectrum_fills_its_own_frequencies_of_every_kernel(spectrum: str) -> None:
    model = network()
    noise = noise_on_weights(model, spectrum=spectrum, selection="all", epsilon=0.01)
    for layer, shape in shapes(model).items():
        kernels = noise[f"{layer}.weight"]
        if shape[-1] == 1:
            # A control may noise no weight that the paper leaves alone.
            assert not kernels.any(), layer
            continue
        mean, size = kernels.mean((2, 3), keepdim=True), float(kernels.std())
        varying = (kernels - mean).abs().amax()
        assert (float(mean.abs().amax()) < 1e-3 * size) == (spectrum == "high"), layer
        assert (float(varying) < 1e-3 * size) == (spectrum == "dc"), layer


def test_high_and_dc_noise_are_the_two_parts_of_white_noise() -> None:
    shape = torch.Size([4, 5, 5, 5])
    parts = {
        name: masked_noise(shape, spectrum_mask(5, 0.2, name), torch.Generator().manual_seed(1))
        for name in SPECTRA
    }
    torch.testing.assert_close(parts["high"] + parts["dc"], parts["white"])


def noised_channels(noise: Tensors, model: nn.Module) -> dict[str, list[int]]:
    return {
        layer: noise[f"{layer}.weight"].flatten(1).any(1).nonzero().flatten().tolist()
        for layer, shape in shapes(model).items()
        if shape[-1] > 1
    }


def coefficients(model: nn.Module) -> list[dict[str, Tensor]]:
    """Coefficients of both images of the client at its trained weights."""
    party = client(model)
    clean, _ = run_client(party, Clipped())
    trained = network()
    trained.load_state_dict({**party.local_parameters(clean), **party.buffers})
    return [channel_coefficients(trained, party.images[i], label) for i, label in ((0, 1), (1, 3))]


def test_lowest_takes_the_smallest_coefficients() -> None:
    model = network()
    alphas = coefficients(model)
    found = noised_channels(noise_on_weights(model, selection="lowest", ratio=0.25), model)
    for layer, channels in found.items():
        quarter = len(alphas[0][layer]) // 4
        lowest = [set(alpha[layer].argsort()[:quarter].tolist()) for alpha in alphas]
        assert channels == sorted(lowest[0] | lowest[1]), layer


def test_all_takes_every_channel_of_wide_kernels() -> None:
    model = network()
    for layer, channels in noised_channels(noise_on_weights(model, selection="all"), model).items():
        assert channels == list(range(shapes(model)[layer][0]))


def test_random_channels_come_from_the_generator_alone() -> None:
    model, other = network(), network(width=8)
    with torch.no_grad():
        for value in other.parameters():
            value.mul_(1.5)
    first, again, on_other_weights, other_seed = (
        noised_channels(noise_on_weights(which, seed=seed, selection="random"), which)
        for which, seed in ((model, 0), (model, 0), (other, 0), (model, 1))
    )
    assert first == again == on_other_weights
    assert first != other_seed


def test_random_channels_are_drawn_evenly() -> None:
    generator, counts = torch.Generator().manual_seed(0), torch.zeros(20)
    for _ in range(2000):
        counts[select_channels(torch.arange(20.0), 0.1, "random", generator)] += 1
    # 2000 draws of 2 in 20: 200 each, standard deviation 13.4.
    assert counts.sum() == 4000
    assert (counts - 200).abs().max() < 4 * 13.4


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("tip", {"ratio": 0.6}),
        ("tip", {"ratio": 0.3, "selection": "all", "spectrum": "dc", "match_energy": True}),
        ("agp", {}),
        ("tip_dp", {}),
    ],
)
def test_all_rivals_can_add_noise_of_one_norm(name: str, given: dict[str, Any]) -> None:
    noise = noise_on_weights(network(width=16), name, noise_norm=0.7, **given)
    assert abs(float(norm(noise)) / 0.7 - 1) < 0.02


def test_published_settings_differ_seventyfold_in_norm() -> None:
    """ResNet-18 in the published federation: 16.2 for DP, 0.24 for TIP with one ranking image."""
    model = build(ModelSpec("resnet18", {}, 10, 3, 32))
    training = LocalTraining("fedavg", 500, 32, 2, 0.001, "train")
    beta = noise_scale(training, 5, 5, 1e-5)
    weights = sum(value.numel() for value in model.parameters())
    assert weights == 11_173_962
    assert abs(beta * math.sqrt(weights) - 16.2) < 0.01
    of_model = shapes(model)
    deviations = dict.fromkeys(of_model, beta / len(of_model))
    assert abs(math.sqrt(expected_energy(of_model, Tip(), deviations, 1)) - 0.238) < 0.001
    for ratio, share in ((0.1, 0.0972), (0.3, 0.2934), (0.6, 0.5889)):
        noised = sum(
            selected_count(shape[0], ratio) * shape[1] * 9
            for shape in of_model.values()
            if shape[-1] == 3
        )
        assert abs(noised / weights - share) < 1e-4
