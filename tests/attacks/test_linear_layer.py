"""The inputs of a linear layer from its gradient: planted batches come back, whatever their order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gradsiege.attacks.linear_layer import Layer, layer_inputs


def planted(batch: int, seed: int, kind: torch.dtype = torch.float64) -> tuple[Layer, Tensor]:
    """A layer of 120 units on 150 numbers, slopes where its ReLU is open, and the inputs."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(120, 150, generator=generator).double()
    weight, bias = draw / 150**0.5, torch.randn(120, generator=generator).double() / 10
    inputs = torch.randn(batch, 150, generator=generator).double()
    slopes = torch.randn(batch, 120, generator=generator).double()
    slopes = slopes * (inputs @ weight.T + bias > 0)
    return Layer(weight, bias, (slopes.T @ inputs).to(kind), slopes.sum(0).to(kind)), inputs


def nearest(found: Tensor, inputs: Tensor) -> Tensor:
    """The distance of each input from the nearest one found, over its length."""
    return torch.cdist(inputs, found).amin(1) / inputs.norm(dim=1)


@pytest.mark.parametrize("batch", range(1, 9))
def test_a_batch_is_recovered_exactly_up_to_its_order(batch: int) -> None:
    for seed in range(3):
        layer, inputs = planted(batch, 10 * batch + seed)
        solution = layer_inputs(layer, batch, torch.Generator().manual_seed(seed))
        assert solution.inputs.shape == inputs.shape
        assert nearest(solution.inputs, inputs).max() < 1e-9
        # A slope may be small by chance.
        assert solution.explained > 0.99
        torch.testing.assert_close(solution.slopes.T @ solution.inputs, layer.weight_gradient)
        torch.testing.assert_close(solution.slopes.sum(0), layer.bias_gradient)


@pytest.mark.parametrize("batch", [2, 5, 8])
def test_single_precision_is_enough(batch: int) -> None:
    layer, inputs = planted(batch, batch, torch.float32)
    solution = layer_inputs(layer, batch, torch.Generator().manual_seed(0))
    assert nearest(solution.inputs, inputs).max() < 1e-4


def test_a_copy_adds_no_rank_and_the_others_still_come_back() -> None:
    layer, inputs = planted(3, 0)
    solution = layer_inputs(layer, 5, torch.Generator().manual_seed(0))
    assert len(solution.inputs) == 3
    assert nearest(solution.inputs, inputs).max() < 1e-9


def test_noise_leaves_nothing_that_explains_the_relus() -> None:
    layer, inputs = planted(4, 0)
    noise = torch.randn(120, 150, generator=torch.Generator().manual_seed(9)).double()
    noisy = Layer(layer.weight, layer.bias, layer.weight_gradient + noise, layer.bias_gradient)
    solution = layer_inputs(noisy, 4, torch.Generator().manual_seed(0), tries=2048)
    assert solution.explained < 0.95
    assert not len(solution.inputs) or nearest(solution.inputs, inputs).min() > 0.1


def test_a_gradient_of_zero_has_no_inputs() -> None:
    nothing = Layer(torch.ones(4, 6), torch.zeros(4), torch.zeros(4, 6), torch.zeros(4))
    assert layer_inputs(nothing, 2, torch.Generator()).inputs.shape == (0, 6)
