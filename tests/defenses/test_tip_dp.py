"""The rival DP of TIP's paper: white noise of the published deviation on every trained weight."""

import math

import torch

from gradsiege import defenses
from gradsiege.defenses.base import Client
from gradsiege.defenses.tip.noise import noise_scale
from gradsiege.federated.client import run_client
from gradsiege.models import ModelSpec, build
from gradsiege.protocol.local_update import LocalTraining, Tensors, norm, split_state

torch.set_num_threads(1)
RATE = 0.01


def client(seed: int = 0) -> Client:
    spec = ModelSpec("resnet18", {"width": 8}, 10, 3, 16)
    model = build(spec, torch.Generator().manual_seed(5))
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    training = LocalTraining("fedsgd", 2, 2, 1, RATE, "eval")
    noise = torch.Generator().manual_seed(seed)
    return Client(model, *split_state(model), images, torch.tensor([1, 3]), training, noise)


def noise_on_weights(**parameters: float) -> Tensors:
    clean, _ = run_client(client(), defenses.build("tip_dp", {"epsilon": 1e30}))
    noised, _ = run_client(client(), defenses.build("tip_dp", parameters))
    return {name: RATE * (clean[name] - noised[name]) for name in clean}


def test_every_trained_weight_is_noised_with_the_published_deviation() -> None:
    noise = noise_on_weights(epsilon=2.0)
    sigma = noise_scale(client().training, clip=5, epsilon=2.0, delta=1e-5)
    assert all(value.all() for value in noise.values())
    everything = torch.cat([value.flatten() for value in noise.values()])
    assert abs(float(everything.std()) / sigma - 1) < 0.01
    assert abs(float(everything.mean())) < 4 * sigma / math.sqrt(len(everything))


def test_the_published_deviation_in_both_studies() -> None:
    federation = LocalTraining("fedavg", 500, 32, 2, 0.001, "train")
    attack_study = LocalTraining("fedavg", 1, 1, 4, 0.001, "eval")
    assert math.isclose(noise_scale(federation, 5, 5, 1e-5), 0.0048448, rel_tol=1e-5)
    assert math.isclose(noise_scale(attack_study, 5, 5, 1e-5), 0.01938, rel_tol=1e-3)


def test_the_batch_is_clipped_as_a_whole_and_not_by_image() -> None:
    """Two images in one step give what the clipped mean gives; the noise-free update shows it."""
    defended, _ = run_client(client(), defenses.build("tip_dp", {"epsilon": 1e30, "clip": 0.1}))
    plain, _ = run_client(client(), defenses.build("none", {}))
    factor = 0.1 / float(norm(plain))
    for name, value in plain.items():
        torch.testing.assert_close(defended[name], factor * value, rtol=1e-4, atol=1e-7)


def test_a_norm_replaces_epsilon() -> None:
    clean, _ = run_client(client(), defenses.build("tip_dp", {"epsilon": 1e30}))
    noised, _ = run_client(client(), defenses.build("tip_dp", {"noise_norm": 0.5}))
    length = norm({name: RATE * (clean[name] - noised[name]) for name in clean})
    assert abs(float(length) / 0.5 - 1) < 0.01


def test_the_noise_comes_from_the_client_alone() -> None:
    defense = defenses.build("tip_dp", {})
    first, second, other = (run_client(client(seed), defense)[0] for seed in (0, 0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)
