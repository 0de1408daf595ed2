"""The attack of the shadow: a five-term loss at the global model (arXiv 2506.15711), and a few optimisation steps on it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from gradsiege.protocol.local_update import Tensors

Statistics = dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Target:
    """The data that the shadow matches: theta_t, the clean gradient and batch statistics, and the private batch itself.

    Attributes:
        model: architecture.
        parameters, buffers: the global state theta_t.
        gradient: gradient g of the clean batch.
        statistics: mean and variance of the clean batch by batch-norm layer.
        images: the private batch, normalised, ``[n, c, h, w]``.
        labels: its classes ``[n]``.
    """

    model: nn.Module
    parameters: Tensors
    buffers: Tensors
    gradient: Tensors
    statistics: Statistics
    images: Tensor
    labels: Tensor


def norm_layers(model: nn.Module) -> dict[str, nn.BatchNorm2d]:
    """Return every batch-norm layer by name."""
    return {name: part for name, part in model.named_modules() if isinstance(part, nn.BatchNorm2d)}


def latest_statistics(model: nn.Module, before: Tensors, after: Tensors) -> Statistics:
    """Return s = (s_after - (1 - m) s_before) / m, the statistics of the last batch, with momentum m = 0.1.

    before, after: buffers by name; means and variances are ``[channels]``.

    The result is exact for one step in train mode. In eval mode the buffers do not change and s is the running value,
    and an attacker would know no more.
    """
    statistics: Statistics = {}
    for name, layer in norm_layers(model).items():
        m = layer.momentum or 0.1
        mean, variance = (
            (after[f"{name}.{key}"] - (1 - m) * before[f"{name}.{key}"]) / m
            for key in ("running_mean", "running_var")
        )
        statistics[name] = (mean, variance)
    return statistics


def forward_with_statistics(
    model: nn.Module, state: Tensors, images: Tensor
) -> tuple[Tensor, Statistics]:
    """Return (logits ``[n, classes]``, mean and biased variance ``[channels]`` of the input of every batch-norm layer)."""
    statistics: Statistics = {}
    handles = []
    for name, layer in norm_layers(model).items():

        def record(module: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
            x = inputs[0]
            statistics[name] = (x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False))

        handles.append(layer.register_forward_pre_hook(record))
    try:
        logits: Tensor = functional_call(model, state, (images,))
    finally:
        for handle in handles:
            handle.remove()
    return logits, statistics


def gradient_term(generated: Tensors, wanted: Tensors) -> Tensor:
    """Return sum_l |g_l(G(z)) - g_l|_2 over the parameter tensors l, of any shapes, as a scalar.

    >>> gradient_term({"w": torch.tensor([3.0, 4.0]), "b": torch.zeros(1)}, {"w": torch.zeros(2), "b": torch.ones(1)})
    tensor(6.)
    """
    return torch.stack([torch.norm(generated[name] - wanted[name]) for name in wanted]).sum()


def statistics_term(generated: Statistics, wanted: Statistics) -> Tensor:
    """Return the sum of |mu - mu_s|_2 + |var - var_s|_2 over the batch-norm layers, a scalar; 0 without such layers.

    Both arguments map a layer to (mean, variance), each ``[channels]``.

    >>> statistics_term({"norm": (torch.tensor([3.0, 4.0]), torch.ones(2))}, {"norm": (torch.zeros(2), torch.ones(2))})
    tensor(5.)
    """
    parts = [
        torch.norm(mean - wanted[name][0]) + torch.norm(variance - wanted[name][1])
        for name, (mean, variance) in generated.items()
    ]
    return torch.stack(parts).sum() if parts else torch.zeros(())


def variation_term(x: Tensor) -> Tensor:
    """Return TV(x) of images ``[n, c, h, w]``: the sum of the l2 norms of the differences to four neighbours, a scalar.

    The neighbours are the right one, the lower one and two diagonal ones; each norm is over the whole batch.

    >>> variation_term(torch.tensor([[[[0.0, 3.0], [0.0, 3.0]]]])).item()
    10.242640495300293
    """
    differences = (
        x[..., :, 1:] - x[..., :, :-1],
        x[..., 1:, :] - x[..., :-1, :],
        x[..., 1:, :-1] - x[..., :-1, 1:],
        x[..., 1:, 1:] - x[..., :-1, :-1],
    )
    return torch.stack([torch.norm(difference) for difference in differences]).sum()


def norm_term(x: Tensor) -> Tensor:
    """Return |x|_2 / (h w)^2 of images ``[n, c, h, w]``, with the norm over the whole batch, a scalar.

    >>> norm_term(torch.tensor([[[[3.0, 4.0]]]])).item()
    1.25
    """
    length: Tensor = torch.norm(x)
    return length / (x.shape[-2] * x.shape[-1]) ** 2


def normalise(images: Tensor, buffers: Mapping[str, Tensor]) -> Tensor:
    """Return images ``[n, c, h, w]`` in [0, 1] in the units of the network: (x - mean) / deviation, by channel.

    >>> buffers = {"normalisation.mean": torch.tensor([0.5]), "normalisation.deviation": torch.tensor([0.25])}
    >>> normalise(torch.ones(1, 1, 1, 1), buffers).item()
    2.0
    """
    mean, deviation = buffers["normalisation.mean"], buffers["normalisation.deviation"]
    return (images - mean[:, None, None]) / deviation[:, None, None]


def five_terms(fake: Tensor, target: Target) -> dict[str, Tensor]:
    """Return the unweighted terms of the shadow's loss, scalars, for generated images ``[n, c, h, w]`` in [0, 1].

    The gradient and the batch statistics are those of the global model in eval mode; the last term reads the
    private batch, which makes the shadow stronger than a real attacker.
    """
    leaves = {name: value.detach().requires_grad_() for name, value in target.parameters.items()}
    state = {**leaves, **target.buffers}
    logits, statistics = forward_with_statistics(target.model, state, fake)
    loss = F.cross_entropy(logits, target.labels)
    gradients = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
    generated = normalise(fake, target.buffers)
    return {
        "gradient": gradient_term(dict(zip(leaves, gradients, strict=True)), target.gradient),
        "statistics": statistics_term(statistics, target.statistics),
        "variation": variation_term(generated),
        "norm": norm_term(generated),
        "error": F.mse_loss(generated, target.images),
    }


def update_generator(
    generator: nn.Module,
    weights: Tensors,
    latents: Tensor,
    target: Target,
    coefficients: Mapping[str, float],
    steps: int,
    learning_rate: float,
) -> Tensors:
    """Return the weights G' after a few Adam steps on the weighted five-term loss with fixed latents ``[n, d]``.

    Adam starts anew for every batch. The argument `weights` is not changed.
    """
    network = copy.deepcopy(target.model).eval()
    here = replace(target, model=network)
    leaves = {name: value.detach().clone().requires_grad_() for name, value in weights.items()}
    optimizer = torch.optim.Adam(leaves.values(), lr=learning_rate, fused=True)
    for _ in range(steps):
        fake = functional_call(generator, leaves, (latents,))
        terms = five_terms(fake, here)
        loss = torch.stack([coefficients[name] * term for name, term in terms.items()]).sum()
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        for leaf, gradient in zip(leaves.values(), gradients, strict=True):
            leaf.grad = gradient
        optimizer.step()
    return {name: value.detach() for name, value in leaves.items()}
