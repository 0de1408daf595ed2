"""TIP's faithful arm: ranking, mask, scale, and what stays clean, each against an independent calculation."""

import math

import pytest
import torch
from torch import Tensor, nn

from gradsiege import defenses
from gradsiege.defenses import tip
from gradsiege.defenses.base import Client
from gradsiege.federated.client import run_client
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import LocalTraining, norm, split_state

torch.set_num_threads(1)


def network(name: str = "convnet") -> nn.Module:
    return build(ModelSpec(name, {"width": 8}, 10, 3, 16), torch.Generator().manual_seed(5))


def client(model: nn.Module, labels: list[int], rate: float = 0.01, seed: int = 0) -> Client:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(len(labels), 3, 16, 16, generator=generator)
    training = LocalTraining("fedsgd", len(labels), len(labels), 1, rate, "eval")
    noise = torch.Generator().manual_seed(seed)
    return Client(model, *split_state(model), images, torch.tensor(labels), training, noise)


@pytest.mark.parametrize(("kernel", "kept"), [(1, 0), (3, 8), (5, 20), (7, 40)])
def test_mask_keeps_the_published_number_of_coefficients(kernel: int, kept: int) -> None:
    mask = tip.high_frequency_mask(kernel, 0.5)
    assert int(mask.sum()) == kept
    assert mask[0, 0] == 0


@pytest.mark.parametrize(
    ("rho", "kept"), [(0.0, 9), (0.3, 8), (0.66, 8), (0.7, 4), (0.93, 4), (0.96, 0)]
)
def test_rho_has_four_possible_outcomes_on_3x3_kernels(rho: float, kept: int) -> None:
    assert int(tip.high_frequency_mask(3, rho).sum()) == kept


def test_on_3x3_kernels_the_noise_is_white_noise_minus_its_mean() -> None:
    shape = torch.Size([4, 6, 3, 3])
    noise = tip.high_frequency_noise(shape, 0.5, torch.Generator().manual_seed(2))
    white = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(noise, white - white.mean((2, 3), keepdim=True), atol=1e-6, rtol=0)


def test_noise_deviation_is_beta_times_sqrt_eight_ninths() -> None:
    noise = tip.high_frequency_noise(
        torch.Size([64, 64, 3, 3]), 0.5, torch.Generator().manual_seed(0)
    )
    assert abs(float(noise.std()) / math.sqrt(8 / 9) - 1) < 0.01


def test_scale_is_the_published_one_in_both_studies() -> None:
    training = LocalTraining("fedavg", 500, 32, 2, 0.001, "train")
    # 500 images in batches of 32 are 16 local steps an epoch.
    assert math.isclose(
        tip.noise_scale(tip.Parameters(), training),
        32 * 0.001 * (5 / 32) * 4.844805 / 5,
        rel_tol=1e-6,
    )
    attack_study = LocalTraining("fedavg", 1, 1, 4, 0.001, "eval")
    assert abs(tip.noise_scale(tip.Parameters(epsilon=1.0), attack_study) - 0.0969) < 1e-4


def test_coefficients_are_the_mean_gradient_of_the_true_logit() -> None:
    model = network().eval()
    image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(3))
    found = tip.channel_coefficients(model, image, 4)
    outputs: dict[str, Tensor] = {}
    handles = [
        layer.register_forward_hook(lambda m, i, o, n=name: outputs.__setitem__(n, o))
        for name, layer in tip.convolutions(model).items()
    ]
    logit = model(image[None])[0, 4]
    gradients = torch.autograd.grad(logit, list(outputs.values()))
    for handle in handles:
        handle.remove()
    assert list(found) == list(outputs)
    for alpha, gradient in zip(found.values(), gradients, strict=True):
        torch.testing.assert_close(alpha, gradient.mean((0, 2, 3)), rtol=1e-4, atol=1e-9)


def test_ranking_leaves_the_model_alone() -> None:
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tip.channel_coefficients(model, torch.rand(3, 16, 16), 0)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_only_the_top_channels_of_wide_kernels_are_noised() -> None:
    model = network("resnet18")
    party = client(model, [2])
    defense = defenses.build("tip", {"ratio": 0.3, "clip": 1e9})
    clean, _ = run_client(client(model, [2]), defenses.build("none", {}))
    defended, _ = run_client(party, defense)
    trained = network("resnet18")
    trained.load_state_dict({**party.local_parameters(clean), **party.buffers})
    alphas = tip.channel_coefficients(trained, party.images[0], 2)
    for name, value in clean.items():
        difference = defended[name] - value
        layer = name.removesuffix(".weight")
        if layer not in alphas or value.shape[-1] == 1:
            assert not difference.any(), name
            continue
        noised = difference.flatten(1).any(1).nonzero().flatten().tolist()
        assert noised == sorted(tip.top_channels(alphas[layer], 0.3).tolist()), name
        assert difference.mean((2, 3)).abs().max() < 1e-3 * difference.abs().max(), name


def test_noise_in_weight_units_does_not_depend_on_the_unit_of_the_update() -> None:
    """The noise on the weights is beta_l times the drawn noise, whatever the learning rate."""
    model, scales = network(), []
    for rate in (0.1, 0.001):
        party = client(model, [2], rate)
        clean, _ = run_client(client(model, [2], rate), defenses.build("none", {}))
        defended, _ = run_client(party, defenses.build("tip", {"clip": 5.0, "ratio": 1.0}))
        name = "body.features.3.weight"
        on_weights = (defended[name] - clean[name]) * rate
        beta = tip.noise_scale(tip.Parameters(), party.training) / len(tip.convolutions(model))
        scales.append(float(on_weights.std()) / beta)
    assert all(abs(scale / math.sqrt(8 / 9) - 1) < 0.05 for scale in scales)


def test_step_gradients_are_clipped() -> None:
    defense = defenses.build("tip", {"clip": 0.5})
    gradient = {"a": torch.full((4,), 1.0), "b": torch.zeros(2)}
    clipped = defense.transform_gradient(gradient, None, None)
    assert math.isclose(float(norm(clipped)), 0.5, rel_tol=1e-5)
    small = {"a": torch.full((4,), 0.01)}
    assert torch.equal(defense.transform_gradient(small, None, None)["a"], small["a"])


def test_one_ranking_sample_per_class_present() -> None:
    assert tip.one_image_per_class(torch.tensor([3, 1, 3, 1, 0])) == [4, 1, 0]
