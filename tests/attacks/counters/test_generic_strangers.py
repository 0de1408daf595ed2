"""The generic counter answers a defense that no catalogue knows: a class of a stranger is a black box."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from simulated_clients import auxiliary_prior
from torch import nn

import gradsiege as gs
from gradsiege.defenses.base import Client, Defense
from gradsiege.protocol.local_update import Tensors

NAME = "generic.learned_reliability"


@dataclass(frozen=True)
class HalfLost(Defense):
    """Noise drowns every other channel of every tensor; the class is known to this test alone."""

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        drowned = {}
        for name, value in update.items():
            noise = torch.randn(value.shape, generator=client.generator)
            drowned[name] = value.clone()
            drowned[name][::2] += 10 * noise[::2]
        return drowned


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(8 * 36, 10))


def test_a_class_of_a_stranger_is_evaluated_by_an_attacker_who_knows_nothing_of_it() -> None:
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    attack = gs.attacks.InvertingGradients(iterations=40, total_variation=1e-4)
    given = {
        "defenses": [None, HalfLost()],
        "attacks": [attack],
        "priors": auxiliary_prior((3, 8, 8)),
    }
    table = gs.evaluate(small(), images, torch.tensor([1, 2]), device="cpu", **given)
    assert (table.reason == "").all()
    assert table.groupby(["defense", "counter"]).size().to_dict() == {
        ("HalfLost", ""): 2,
        ("HalfLost", NAME): 2,
        ("none", ""): 2,
    }
    psnr = table.groupby(["defense", "counter"]).psnr.mean()
    assert psnr["HalfLost", NAME] > psnr["HalfLost", ""] + 1


def test_without_images_the_rows_say_what_the_attacker_lacks() -> None:
    images = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    attack = gs.attacks.InvertingGradients(iterations=2)
    table = gs.evaluate(small(), images, [1], [HalfLost()], [attack], device="cpu")
    lacking = table[table.counter == NAME]
    assert lacking.reason.str.contains("auxiliary_images").all()
    assert (table[table.counter == ""].reason == "").all()
