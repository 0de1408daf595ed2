"""AGP: which channels stay clean in which layers, its deviation in both arms, and the released switches."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradsiege import defenses
from gradsiege.defenses import agp
from gradsiege.defenses.base import Client
from gradsiege.defenses.grad_cam import channel_coefficients, convolutions
from gradsiege.errors import StudyError
from gradsiege.federated.client import run_client
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import LocalTraining, Tensors, norm, split_state

torch.set_num_threads(1)
LABELS = [4, 2, 4]
RATE = 0.01


def network(name: str = "resnet18", size: int = 16, **parameters: int) -> nn.Module:
    spec = ModelSpec(name, parameters, 10, 3, size)
    return build(spec, torch.Generator().manual_seed(5))


def client(model: nn.Module, epochs: int = 1) -> Client:
    images = torch.rand(len(LABELS), 3, 16, 16, generator=torch.Generator().manual_seed(1))
    training = LocalTraining("fedavg", 3, 3, epochs, RATE, "eval")
    noise = torch.Generator().manual_seed(0)
    return Client(model, *split_state(model), images, torch.tensor(LABELS), training, noise)


def noise_on_weights(model: nn.Module, arm: str = "faithful", **parameters: Any) -> Tensors:
    """What AGP adds to the trained weights."""
    clean, _ = run_client(client(model), defenses.build("agp", parameters | {"epsilon": 1e30}, arm))
    noised, _ = run_client(client(model), defenses.build("agp", parameters, arm))
    return {name: RATE * (clean[name] - noised[name]) for name in clean}


def image() -> Tensor:
    return torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(2))


def test_the_last_convolution_of_each_residual_block_is_protected() -> None:
    found = agp.last_of_blocks(network(width=4))
    assert found == [f"body.blocks.{block}.conv2" for block in range(8)]


def test_the_last_convolution_of_each_dense_layer_is_protected() -> None:
    found = agp.last_of_blocks(network("densenet121", growth=4))
    assert len(found) == 6 + 12 + 24 + 16
    assert all(name.endswith(".conv2") for name in found)


@pytest.mark.parametrize(
    ("name", "parameters", "protected"),
    [
        # 3x3 at 16 px twice, pool, 3x3 at 8 px; 5x5 with outputs of 8, 4, 4 px; four by four patches.
        ("convnet", {"width": 4}, ["body.features.3", "body.features.7"]),
        ("lenet", {"channels": 4}, ["body.features.0", "body.features.4"]),
        ("vit_small", {"width": 12, "depth": 1, "heads": 1}, ["body.patches"]),
    ],
)
def test_plain_networks_are_protected_at_the_end_of_each_stage(
    name: str, parameters: dict[str, int], protected: list[str]
) -> None:
    model = network(name, **parameters)
    assert agp.last_of_blocks(model) == []
    assert agp.last_of_stages(model, image()) == protected


def test_only_channels_that_every_class_finds_important_stay_clean() -> None:
    model = network(width=8)
    party = client(model)
    noise = noise_on_weights(model)
    clean, _ = run_client(party, defenses.build("agp", {"epsilon": 1e30}))
    trained = network(width=8)
    trained.load_state_dict({**party.local_parameters(clean), **party.buffers})
    # The first images of classes 2 and 4.
    alphas = [channel_coefficients(trained, party.images[i], LABELS[i]) for i in (1, 0)]
    for layer, part in convolutions(model).items():
        noised = noise[f"{layer}.weight"].flatten(1).any(1)
        if not layer.endswith("conv2"):
            assert noised.all(), layer
            continue
        quarter = part.out_channels // 4
        tops = [set(alpha[layer].argsort(descending=True)[:quarter].tolist()) for alpha in alphas]
        assert (~noised).nonzero().flatten().tolist() == sorted(tops[0] & tops[1]), layer
    others = [name for name in noise if name.removesuffix(".weight") not in convolutions(model)]
    assert others
    assert not any(noise[name].any() for name in others)


def test_a_client_with_images_of_ten_classes_has_no_channel_that_all_find_important() -> None:
    model = network("convnet", width=16)
    images = torch.rand(10, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    training = LocalTraining("fedavg", 10, 10, 1, RATE, "eval")
    updates = [
        run_client(
            Client(
                model, *split_state(model), images, torch.arange(10), training, torch.Generator()
            ),
            defenses.build("agp", {"every_channel": all_noised}),
        )[0]
        for all_noised in (False, True)
    ]
    assert all(torch.equal(updates[0][name], updates[1][name]) for name in updates[0])


def test_noise_is_white_with_the_published_deviation() -> None:
    noise = noise_on_weights(network(width=16))
    party = client(network(width=16))
    sigma = agp.deviation(agp.Agp(), party.training)
    white = noise["body.blocks.4.conv1.weight"]
    assert abs(float(white.std()) / sigma - 1) < 0.02
    # Unlike TIP's, it keeps the zero frequency: a mean of nine values has a third of the deviation.
    assert abs(float(white.mean((2, 3)).std()) / (sigma / 3) - 1) < 0.05
    attack_study = LocalTraining("fedavg", 1, 1, 4, 0.001, "eval")
    assert math.isclose(agp.deviation(agp.Agp(), attack_study), 0.01938, rel_tol=1e-3)


def test_released_arm_noises_every_channel_of_every_convolution() -> None:
    model = network(width=8)
    quiet = {"epochs_miscounted": False, "scaled_by_rate": False}
    noise = noise_on_weights(model, "as_released", **quiet)
    for layer in convolutions(model):
        assert noise[f"{layer}.weight"].flatten(1).any(1).all(), layer


@pytest.mark.parametrize(
    ("switches", "factor"),
    [({"scaled_by_rate": True}, 0.001), ({"epochs_miscounted": True}, 0.5)],
)
def test_each_released_switch_weakens_the_noise(switches: dict[str, bool], factor: float) -> None:
    training = LocalTraining("fedavg", 500, 32, 2, 0.001, "train")
    ratio = agp.deviation(agp.Agp(**switches), training) / agp.deviation(agp.Agp(), training)
    assert math.isclose(ratio, factor)


def test_released_arm_of_a_single_epoch_adds_no_noise_at_all() -> None:
    noise = noise_on_weights(network(width=4), "as_released")
    assert not any(value.any() for value in noise.values())


def test_a_norm_replaces_epsilon() -> None:
    model = network(width=8)
    clean, _ = run_client(client(model), defenses.build("agp", {"epsilon": 1e30}))
    noised, _ = run_client(client(model), defenses.build("agp", {"noise_norm": 3.0}))
    length = norm({name: RATE * (clean[name] - noised[name]) for name in clean})
    assert abs(float(length) / 3.0 - 1) < 0.01


def test_a_norm_without_a_weight_to_noise_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 10))
    with pytest.raises(StudyError, match=r"agp: noise_norm 3\.0 cannot be met"):
        run_client(client(model), defenses.build("agp", {"noise_norm": 3.0, "kept": 1.0}))
