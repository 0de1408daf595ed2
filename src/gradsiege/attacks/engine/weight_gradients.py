"""The weight gradients of a convolution, one for each element, as a grouped convolution: no patches are written out.

A processor computes it at the rate of a convolution. Products of patches, the other way, first write every pixel once per place of the
kernel, and a GPU prefers them: its libraries serve many groups badly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gradsiege.attacks.engine.taps import Geometry


class WeightGradients(torch.autograd.Function):
    """The map (dL/dz, a) -> dL/dW of every element, which is linear in both; z is the convolution of a with W.

    PyTorch's own derivative of the same map visits one group after the other.
    """

    @staticmethod
    def forward(taps: Tensor, inputs: Tensor, geometry: Geometry) -> Tensor:
        """Return ``[n, outputs, inputs, *kernel]`` of ``[n, b, outputs, h', w']`` and ``[n, b, inputs, h, w]``."""
        n, outputs, channels = len(taps), taps.shape[2], inputs.shape[2]
        like = taps.new_empty(()).expand(n * outputs, channels, *geometry.kernel)
        _, gradients, _ = _backward(
            grouped(taps), grouped(inputs), like, geometry, n, [False, True]
        )
        return gradients.view(n, outputs, channels, *geometry.kernel)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Geometry], output: Tensor) -> None:
        """Keep both factors.

        inputs: taps ``[n, b, outputs, h', w']``, inputs ``[n, b, inputs, h, w]``, and the geometry.
        """
        ctx.save_for_backward(inputs[0], inputs[1])
        ctx.geometry = inputs[2]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        """Convolve the inputs, and by the adjoint the taps, with what the weight gradients weigh.

        Takes ``[n, outputs, inputs, *kernel]``, returns gradients shaped like taps and inputs.
        """
        taps, inputs = ctx.saved_tensors
        geometry, n = ctx.geometry, len(taps)
        weight = gradients[0].flatten(0, 1)
        x, g = grouped(inputs), grouped(taps)
        of_taps = F.conv2d(x, weight, None, geometry.stride, geometry.padding, geometry.dilation, n)
        of_inputs = _backward(g, x, weight, geometry, n, [True, False])[0]
        return separate(of_taps, n), separate(of_inputs, n), None


def grouped(x: Tensor) -> Tensor:
    """Return ``[n, b, channels, ...]`` as ``[b, n * channels, ...]``."""
    return x.transpose(0, 1).flatten(1, 2)


def separate(x: Tensor, n: int) -> Tensor:
    """Undo `grouped`.

    Takes ``[b, n * channels, ...]``, returns ``[n, b, channels, ...]``.
    """
    elements: Tensor = x.unflatten(1, (n, -1))
    return elements.transpose(0, 1)


def _backward(
    g: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, groups: int, wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        g,
        x,
        weight,
        None,
        geometry.stride,
        geometry.padding,
        geometry.dilation,
        False,
        [0, 0],
        groups,
        [*wanted, False],
    )
    return found


def weight_gradients(taps: Tensor, inputs: Tensor, geometry: Geometry) -> Tensor:
    """Return the weight gradients of all elements; see `WeightGradients`.

    >>> inputs, geometry = torch.arange(4.0).view(1, 1, 1, 2, 2), Geometry((1, 1), (1, 1), (0, 0), (1, 1))
    >>> weight_gradients(torch.ones(1, 1, 1, 2, 2), inputs, geometry).tolist()
    [[[[[6.0]]]]]
    """
    apply: Callable[..., Tensor] = WeightGradients.apply
    return apply(taps, inputs, geometry)
