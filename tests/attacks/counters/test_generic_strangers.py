"""The generic counter answers a defense that no catalogue knows: a class of a stranger is a black box."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
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


@dataclass(frozen=True)
class BreaksBelow(HalfLost):
    """Clients whose images are darker than a level upload NaN in one place."""

    level: float

    def transform_update(self, update: Tensors, client: Client) -> Tensors:
        sent = super().transform_update(update, client)
        if float(client.images.mean()) < self.level:
            next(iter(sent.values()))[..., 0] = torch.nan
        return sent


def evaluated(level: float) -> pd.DataFrame:
    """The rows of the generic counter on two bright images, whose uploads are finite."""
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(5)) / 2 + 0.5
    attack = gs.attacks.InvertingGradients(iterations=40, total_variation=1e-4)
    table = gs.evaluate(
        small(),
        images,
        [1, 2],
        [BreaksBelow(level)],
        [attack],
        priors=auxiliary_prior((3, 8, 8)),
        device="cpu",
    )
    return table[table.counter == NAME]


def test_simulated_clients_that_fail_are_left_out() -> None:
    whole, some = evaluated(0.0), evaluated(0.5)
    assert (some.reason == "").all()
    assert (some.psnr > whole.psnr - 1).all()


def test_a_defense_under_which_every_simulated_client_fails_is_named() -> None:
    assert evaluated(0.7).reason.str.contains("none of them uploads finite numbers").all()
