"""The matrix products of a network with shared weights, opened up: their inputs, and a tap on their outputs.

A weight W that enters a network in a single product z = W a has the gradient dL/dW = (dL/dz) a^T. The tap is a zero that is
added to z, so that dL/dz is the gradient with respect to the tap. A convolution is the same product with patches for a.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from gradsiege.protocol.local_update import Tensors


@dataclass(frozen=True)
class Geometry:
    """Kernel, stride, padding and dilation of a convolution, each ``(height, width)``."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the convolution of ``[n, inputs, h, w]``, without bias."""
        return F.conv2d(x, weight, None, self.stride, self.padding, self.dilation)

    def transpose(self, g: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
        """Return what the adjoint of `convolve` makes of ``[n, outputs, h', w']``: a tensor of `shape`."""
        like = g.new_empty(()).expand(shape)
        only_input = [True, False, False]
        derivatives = torch.ops.aten.convolution_backward(
            g,
            like,
            weight,
            None,
            self.stride,
            self.padding,
            self.dilation,
            False,
            [0, 0],
            1,
            only_input,
        )
        adjoint: Tensor = derivatives[0]
        return adjoint

    def patches(self, x: Tensor) -> Tensor:
        """Return the patches ``[n, inputs * kernel, positions]`` that the kernel meets."""
        if self.kernel == (1, 1) and self.stride == (1, 1) and self.padding == (0, 0):
            return x.flatten(2)
        return F.unfold(x, self.kernel, self.dilation, self.padding, self.stride)


class SharedConvolution(torch.autograd.Function):
    """`Geometry.convolve` as a map that is linear in its input alone.

    PyTorch's own convolution, differentiated twice, also computes derivatives with respect to the weight, which
    nobody asked for: one product in eight.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        """Convolve ``[n, inputs, h, w]``."""
        return geometry.convolve(x, weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Geometry], output: Tensor) -> None:
        """Keep the weight, not the input.

        inputs: ``[n, inputs, h, w]``, the weight ``[outputs, inputs, *kernel]``, and the geometry.
        """
        ctx.shape, ctx.weight, ctx.geometry = inputs[0].shape, inputs[1], inputs[2]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Apply the adjoint.

        Takes ``[n, outputs, h', w']``, returns ``[n, inputs, h, w]``.
        """
        apply: Callable[..., Tensor] = SharedAdjoint.apply
        return apply(gradients[0], ctx.weight, ctx.geometry, ctx.shape), None, None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int, None, None], x: Tensor, weight: Tensor, geometry: Geometry
    ) -> tuple[Tensor, int]:
        """Fold the elements into the batch: the weight is theirs together.

        x: ``[elements, n, inputs, h, w]``, the dimension of the elements where `in_dims` says.
        """
        elements = x.movedim(in_dims[0], 0)
        folded = convolve(elements.flatten(0, 1), weight, geometry)
        return folded.unflatten(0, elements.shape[:2]), 0


def convolve(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Return the convolution of ``[n, inputs, h, w]`` with a weight that asks for no gradient."""
    apply: Callable[..., Tensor] = SharedConvolution.apply
    return apply(x, weight, geometry)


class SharedAdjoint(torch.autograd.Function):
    """`Geometry.transpose`, whose own adjoint is the convolution again."""

    @staticmethod
    def forward(g: Tensor, weight: Tensor, geometry: Geometry, shape: torch.Size) -> Tensor:
        """Apply the adjoint to ``[n, outputs, h', w']``."""
        return geometry.transpose(g, weight, shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the weight.

        inputs: ``[n, outputs, h', w']``, the weight ``[outputs, inputs, *kernel]``, geometry and shape.
        """
        ctx.weight, ctx.geometry = inputs[1], inputs[2]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """Convolve.

        Takes ``[n, inputs, h, w]``, returns ``[n, outputs, h', w']``.
        """
        return convolve(gradients[0], ctx.weight, ctx.geometry), None, None, None


class Taps(TorchFunctionMode):
    """Records the products of the given weights while the mode is entered, and adds the taps to their outputs.

    Attributes:
        inputs: for each weight what it was multiplied with.
        geometry: for each weight of a convolution how it was applied; absent for a linear layer.
        uses: how often each weight was met in a product that this mode can open.
        shapes: shapes of the products.
    """

    def __init__(self, weights: Tensors, taps: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.names = {id(weight): name for name, weight in weights.items()}
        self.taps = taps
        self.inputs: Tensors = {}
        self.geometry: dict[str, Geometry] = {}
        self.uses = dict.fromkeys(weights, 0)
        self.shapes: dict[str, torch.Size] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Open the two products; everything else goes its way."""
        shared = len(args) > 1 and id(args[1]) in self.names
        if shared and func is F.linear:
            func = self._linear
        elif shared and func is torch.conv2d:
            func = self._convolution
        return func(*args, **(kwargs or {}))

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        product = self._record(weight, x, x @ weight.t())
        return product if bias is None else product + bias

    def _convolution(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        if groups != 1 or isinstance(padding, str):
            return F.conv2d(x, weight, bias, stride, padding, dilation, groups)
        kernel = (weight.shape[2], weight.shape[3])
        geometry = Geometry(kernel, _pair(stride), _pair(padding), _pair(dilation))
        self.geometry[self.names[id(weight)]] = geometry
        product = self._record(weight, x, convolve(x, weight, geometry))
        return product if bias is None else product + bias[:, None, None]

    def _record(self, weight: Tensor, x: Tensor, product: Tensor) -> Tensor:
        name = self.names[id(weight)]
        self.inputs[name], self.shapes[name] = x, product.shape
        self.uses[name] += 1
        return product + self.taps[name] if name in self.taps else product


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def products_of(
    model: nn.Module, parameters: Tensors, buffers: Tensors, images: Tensor
) -> tuple[dict[str, torch.Size], dict[str, Geometry]]:
    """Return (shape of the product, geometry) of every weight that the network multiplies exactly once.

    Args:
        images: a batch ``[b, c, h, w]`` of one element; its values do not matter, a forward pass is made.
    """
    matrices = {name: value for name, value in parameters.items() if value.dim() in (2, 4)}
    mode = Taps(matrices, {})
    with torch.no_grad(), mode:
        functional_call(model, {**parameters, **buffers}, (images,))
    once = [name for name, uses in mode.uses.items() if uses == 1]
    return (
        {name: mode.shapes[name] for name in once},
        {name: mode.geometry[name] for name in once if name in mode.geometry},
    )
