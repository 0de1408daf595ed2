"""Weight gradients of many elements at once: those that autograd finds for each, and differentiable."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from problems import case
from torch import Tensor

from benchmarks.clocks import operations
from gradsiege.attacks.engine.engines import ENGINES
from gradsiege.attacks.engine.factored import factors, product
from gradsiege.attacks.engine.taps import Geometry
from gradsiege.attacks.engine.weight_gradients import weight_gradients

GEOMETRIES = [
    Geometry((3, 3), (1, 1), (1, 1), (1, 1)),
    Geometry((1, 1), (1, 1), (0, 0), (1, 1)),
    Geometry((3, 2), (2, 3), (1, 0), (1, 2)),
]
N, IMAGES, INPUTS, OUTPUTS, SIDE = 3, 2, 2, 4, 8


def factors_of(geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Return (dL/dz, a) of random layers, in float64."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(
        N, IMAGES, INPUTS, SIDE, SIDE, generator=generator, dtype=torch.float64
    ).requires_grad_()
    weight = torch.zeros(OUTPUTS, INPUTS, *geometry.kernel, dtype=torch.float64)
    shape = geometry.convolve(inputs[0], weight).shape
    taps = torch.randn(N, *shape, generator=generator, dtype=torch.float64).requires_grad_()
    return taps, inputs


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_every_element_has_the_gradient_of_its_own_convolution(geometry: Geometry) -> None:
    taps, inputs = factors_of(geometry)
    found = weight_gradients(taps, inputs, geometry)
    for element in range(N):
        weight = torch.zeros(OUTPUTS, INPUTS, *geometry.kernel, dtype=torch.float64)
        weight.requires_grad_()
        z = F.conv2d(
            inputs[element], weight, None, geometry.stride, geometry.padding, geometry.dilation
        )
        (expected,) = torch.autograd.grad(z, weight, taps[element])
        torch.testing.assert_close(found[element], expected)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_derivatives_are_those_of_finite_differences(geometry: Geometry) -> None:
    taps, inputs = factors_of(geometry)
    assert torch.autograd.gradcheck(
        lambda g, a: weight_gradients(g, a, geometry), (taps, inputs), fast_mode=True
    )


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_products_of_patches_are_the_same_numbers(geometry: Geometry) -> None:
    """The way of a GPU, and of layers whose factors are smaller than their gradient."""
    taps, inputs = factors_of(geometry)
    shape = torch.Size([OUTPUTS, INPUTS, *geometry.kernel])
    patches = factors(taps, inputs, geometry, shape).product()
    torch.testing.assert_close(product(taps, inputs, geometry, shape), patches)


def test_grouped_convolutions_count_as_many_operations_as_single_ones() -> None:
    """What vmap makes of a network costs what the plain loop costs, and the factored engine less than both."""
    problem, x, target = case("convnet", images=1, kind=torch.float32)
    counts = {
        name: operations(lambda name=name: ENGINES[name](problem)(x, target))
        for name in ("loop", "vmap", "factored")
    }
    assert counts["vmap"] == pytest.approx(counts["loop"], rel=0.15)
    assert counts["factored"] < counts["vmap"]
