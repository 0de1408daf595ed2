"""Gaussian noise has the stated moments, comes from the client's generator, and changes nothing in place."""

import math

import torch

from gradsiege import defenses
from gradsiege.defenses.base import Client
from gradsiege.protocol.local_update import LocalTraining


def client(seed: int) -> Client:
    nothing = torch.zeros(1, 1, 1, 1)
    training = LocalTraining("fedsgd", 1, 1, 1, 0.1, "eval")
    generator = torch.Generator().manual_seed(seed)
    return Client(torch.nn.Identity(), {}, {}, nothing, torch.zeros(1), training, generator)


def test_noise_has_the_stated_moments() -> None:
    count, sigma = 200_000, 0.3
    update = {"w": torch.full((count,), 2.0)}
    noise = (
        defenses.build("gaussian", {"sigma": sigma}).transform_update(update, client(0))["w"] - 2
    )
    assert abs(noise.mean()) < 4 * sigma / math.sqrt(count)
    assert abs(noise.std() / sigma - 1) < 4 / math.sqrt(2 * count)
    assert abs((noise / sigma).pow(4).mean() - 3) < 4 * math.sqrt(96 / count)


def test_is_a_pure_function_of_update_and_generator() -> None:
    update = {"w": torch.ones(5)}
    defense = defenses.build("gaussian", {"sigma": 1.0})
    first = defense.transform_update(update, client(1))["w"]
    assert torch.equal(first, defense.transform_update(update, client(1))["w"])
    assert not torch.equal(first, defense.transform_update(update, client(2))["w"])
    assert torch.equal(update["w"], torch.ones(5))
