"""Layers that all victim classifiers share: a pure batch norm, input normalisation, initialisation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation (Ioffe and Szegedy, 2015) without in-place updates.

    `torch.nn.BatchNorm2d` writes its running statistics in place, which forbids `vmap` and higher
    derivatives in train mode. This one replaces the buffers by new tensors; under
    `torch.func.functional_call` they come back in the dictionary that was passed.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``[n, c, h, w]`` by batch statistics (train) or running statistics (eval)."""
        assert self.running_mean is not None
        assert self.running_var is not None
        if not self.training:
            # Plain products: `F.batch_norm` has no batching rule here, and its second derivative takes many passes.
            scale = self.weight * torch.rsqrt(self.running_var + self.eps)
            shift = self.bias - self.running_mean * scale
            return x * scale[:, None, None] + shift[:, None, None]
        mean = x.mean((0, 2, 3))
        variance = (x - mean[:, None, None]).square().mean((0, 2, 3))
        count = x.numel() // x.shape[1]
        momentum = self.momentum or 0.1
        with torch.no_grad():
            unbiased = variance * (count / max(count - 1, 1))
            self.running_mean = torch.lerp(self.running_mean, mean.detach(), momentum)
            self.running_var = torch.lerp(self.running_var, unbiased.detach(), momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (x - mean[:, None, None]) * scale[:, None, None] + self.bias[:, None, None]


class Normalisation(nn.Module):
    """Subtract a channel mean and divide by a channel deviation, both buffers of the model."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((channels,), 0.5))
        self.register_buffer("deviation", torch.full((channels,), 0.25))

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``[n, c, h, w]`` in [0, 1] to normalised ones."""
        return (images - self.mean[:, None, None]) / self.deviation[:, None, None]


class Classifier(nn.Module):
    """Normalisation followed by a network whose last layer is linear."""

    def __init__(self, body: nn.Module, channels: int) -> None:
        super().__init__()
        self.normalisation = Normalisation(channels)
        self.body = body

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``[n, classes]`` of images ``[n, c, h, w]`` in [0, 1]."""
        logits: Tensor = self.body(self.normalisation(images))
        return logits


def allocate(model: nn.Module) -> None:
    """Move a network from the device ``meta`` to the CPU, with memory for its weights but no values yet.

    `nn.Module.to_empty` does the same through functions that import a computer algebra system, for 1.6 s per process.
    """
    for module in model.modules():
        for name, value in list(module.named_parameters(recurse=False)):
            empty = torch.empty(value.shape, dtype=value.dtype)
            setattr(module, name, nn.Parameter(empty, requires_grad=value.requires_grad))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype))


def initialize(model: nn.Module, generator: torch.Generator) -> None:
    """Fill every parameter and buffer: uniform in +-1/sqrt(fan in), as PyTorch's own default layers.

    A module may define ``initialize_(generator)`` to draw its own weights (the DLG network does).
    """
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                bound = 1 / math.sqrt(module.weight[0].numel())
                module.weight.uniform_(-bound, bound, generator=generator)
                if module.bias is not None:
                    module.bias.uniform_(-bound, bound, generator=generator)
            elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
                module.reset_parameters()
            elif isinstance(module, Normalisation):
                module.mean.fill_(0.5)
                module.deviation.fill_(0.25)
        for module in model.modules():
            initialize_layer = getattr(module, "initialize_", None)
            if callable(initialize_layer):
                initialize_layer(generator)
