"""The property that defines the defense, and what it discloses."""

import torch
from gradsiege_example.half import Half
from torch import nn

import gradsiege as gs


def test_half_scales_every_coordinate_by_its_factor() -> None:
    """The update is a multiple of the one without a defense."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5))
    images, labels = torch.rand(2, 3, 8, 8), torch.tensor([1, 4])
    plain = gs.observe(network, images, labels)
    seen = gs.observe(network, images, labels, defense=Half(factor=0.25))
    for name, value in plain.update.items():
        assert torch.equal(seen.update[name], 0.25 * value)
    assert seen.disclosure == {"defense": "half", "factor": 0.25}
