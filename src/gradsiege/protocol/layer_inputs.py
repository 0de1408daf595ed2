"""Inputs of the inner layers of the global model, for the terms of an objective that compare them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from gradsiege.protocol.local_update import Tensors


def layer_inputs(
    model: nn.Module, state: Tensors, images: Tensor, layers: list[str]
) -> dict[str, Tensor]:
    """Return the inputs of the named layers in a forward pass of `images [n, c, h, w]` with the weights of `state`.

    The function is pure and differentiable, and works under `torch.func` transforms: its hooks live only during the call.
    """
    inputs: dict[str, Tensor] = {}

    def record(name: str) -> Any:
        def hook(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            inputs[name] = arguments[0]

        return hook

    parts = dict(model.named_modules())
    handles = [parts[name].register_forward_pre_hook(record(name)) for name in layers]
    try:
        functional_call(model, dict(state), (images,))
    finally:
        for handle in handles:
            handle.remove()
    return inputs


def batch_statistics(model: nn.Module, state: Tensors, images: Tensor) -> Tensors:
    """Return mean and variance ``[channels]`` of `images [n, c, h, w]` at the input of every batch norm.

    The keys are ``<layer>.mean`` and ``<layer>.variance``; the variance is the biased one.
    """
    layers = [name for name, part in model.named_modules() if isinstance(part, nn.BatchNorm2d)]
    statistics: Tensors = {}
    for name, value in layer_inputs(model, state, images, layers).items():
        mean = value.mean((0, 2, 3))
        statistics[f"{name}.mean"] = mean
        statistics[f"{name}.variance"] = (value - mean[:, None, None]).square().mean((0, 2, 3))
    return statistics
