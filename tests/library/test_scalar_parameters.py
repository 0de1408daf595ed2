"""A parameter without dimensions, such as a temperature: observed, recorded, defended and attacked like any other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_audits import BUDGET
from small_classifiers import ATTACK
from torch import Tensor, nn

import gradsiege as gs


class Scaled(nn.Module):
    """A linear classifier of images [n, 3, 8, 8] scaled by a temperature of shape []."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.temperature = nn.Parameter(torch.tensor(1.5))
        self.head = nn.Linear(3 * 8 * 8, 4)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head((images * self.temperature).flatten(1))
        return logits


IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_the_engines_agree_on_a_network_with_a_scalar() -> None:
    seen = gs.observe(Scaled(), IMAGES, [0, 3])
    assert seen.update["body.temperature"].shape == (2,)
    assert not seen.failures
    losses = [ATTACK(seen, engine=name).matching_loss for name in ("loop", "vmap", "factored")]
    assert losses[0].isfinite().all()
    for loss in losses[1:]:
        assert torch.allclose(loss, losses[0], atol=1e-5)


@pytest.mark.parametrize("clients", [0, 2])
def test_a_recorded_scalar_is_one_number_per_client(clients: int) -> None:
    seen = gs.observe(Scaled(), IMAGES, [0, 3])
    update = {name: value if clients else value[0] for name, value in seen.update.items()}
    again = gs.Observation.of(Scaled(), update, (3, 8, 8))
    assert torch.equal(
        again.update["body.temperature"], seen.update["body.temperature"][: clients or 1]
    )
    assert not again.failures


DEFENSES: list[Any] = [
    gs.defenses.DpSgd(),
    gs.defenses.Gaussian(),
    gs.defenses.TopK(),
    gs.defenses.Sign(),
]


def test_defenses_change_a_scalar_as_they_change_others() -> None:
    rows = gs.evaluate(Scaled(), IMAGES[:1], [0], DEFENSES, [ATTACK], adaptive=False)
    assert list(rows.reason) == [""] * len(DEFENSES)


def test_audits_take_a_network_with_a_scalar() -> None:
    update = {name: value[0] for name, value in gs.observe(Scaled(), IMAGES, [0, 3]).update.items()}
    assert gs.audit_updates(Scaled(), update, (3, 8, 8), budget=BUDGET).matches
