"""Sums over channels of simulated updates, all that the weights are learned from; kept in float64.

A tensor's coefficients stand in one of two bases, and each basis has two parts. *coordinates*: every coordinate, either ``received`` (not
exactly zero) or ``zero``. *kernels*, of a convolution's k x k kernels: their ``mean`` times k, and the ``rest``. A channel is
a tensor's first axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from gradsiege.arithmetic import square_root
from gradsiege.protocol.local_update import Tensors

BASES = {"coordinates": ("received", "zero"), "kernels": ("mean", "rest")}
# Columns of the sums of a channel.
COUNT, GG, GD, DD = range(4)

# For every part ``[clients, channels, 4]``: number of coordinates, sums of g^2, of g d and of d^2.
Sums = dict[str, Tensor]


def has_kernels(shape: Iterable[int]) -> bool:
    """Return whether a tensor of this shape holds kernels of more than one element.

    >>> has_kernels((8, 3, 3, 3)), has_kernels((8, 3, 1, 1)), has_kernels((8, 3))
    (True, False, False)
    """
    sizes = tuple(shape)
    return len(sizes) == 4 and math.prod(sizes[2:]) > 1


def kernel_means(value: Tensor) -> Tensor:
    """Return the kernels' means times k, ``[..., out, in]``; the squares of mean and rest add up to those of the kernel.

    >>> kernel_means(torch.tensor([[[[1.0, 2.0], [3.0, 2.0]]]]))
    tensor([[4.]])
    """
    return value.mean((-2, -1)) * math.sqrt(value.shape[-1] * value.shape[-2])


def kernel_rest(value: Tensor) -> Tensor:
    """Return the kernels without their means, in their own shape."""
    return value - value.mean((-2, -1), keepdim=True)


def channel_sums(clean: Tensor, upload: Tensor) -> Sums:
    """Return the sums ``[channels, 4]`` of one tensor of one client for each part.

    >>> sums = channel_sums(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 0.0]))
    >>> sums["received"].tolist()
    [[1.0, 1.0, 3.0, 9.0], [0.0, 0.0, 0.0, 0.0]]
    >>> sums["zero"].tolist()
    [[0.0, 0.0, 0.0, 0.0], [1.0, 4.0, 0.0, 0.0]]
    """
    g, d = clean.double(), upload.double()
    there = (d != 0).double()
    sums = {
        "received": _sums(g * there, d, there),
        "zero": _sums(g * (1 - there), d * 0, 1 - there),
    }
    if has_kernels(clean.shape):
        # The rest has one degree of freedom less than the kernel has elements.
        free = 1 - 1 / math.prod(clean.shape[2:])
        sums["mean"] = _sums(kernel_means(g), kernel_means(d), torch.ones(g.shape[:2]).double())
        sums["rest"] = _sums(kernel_rest(g), kernel_rest(d), torch.full_like(g, free))
    return sums


def _sums(g: Tensor, d: Tensor, count: Tensor) -> Tensor:
    g, d, count = (by_channel(value) for value in (g, d, count))
    return torch.stack([count.sum(1), g.square().sum(1), (g * d).sum(1), d.square().sum(1)], 1)


def by_channel(value: Tensor) -> Tensor:
    """Return a tensor as ``[channels, coordinates]``; a number without axes is one channel.

    >>> by_channel(torch.zeros(4, 3, 2, 2)).shape, by_channel(torch.tensor(1.0)).shape
    (torch.Size([4, 12]), torch.Size([1, 1]))
    """
    return value.reshape(len(value) if value.dim() else 1, -1)


@dataclass(frozen=True)
class Evidence:
    """What simulated clients say of one tensor.

    Attributes:
        parts: sums over the coordinates of each channel.
        soft: the same sums ``[clients, 4]`` of the whole tensor, with soft signs (`soft_sign`) instead of g.
        magnitude: mean of |g|, ``[clients]``.
        halves: sums ``[clients, 2, 4]`` over the coefficients below the tensor's root mean square, and over the others.
        rough: mean of |d - g|, ``[clients]``.
        unsent: largest |g| that was received as an exact zero, ``[clients]``.
        least: smallest magnitude that was received and is not zero, ``[clients]``; infinite if there is none.
    """

    parts: Sums
    soft: Tensor
    magnitude: Tensor
    halves: Tensor
    rough: Tensor
    unsent: Tensor
    least: Tensor

    @property
    def totals(self) -> Tensor:
        """Sums over all coordinates of each channel, ``[clients, channels, 4]``."""
        return self.parts["received"] + self.parts["zero"]


def soft_sign(value: Tensor) -> Tensor:
    """Return v / sqrt(v^2 + m^2), m the tensor's mean magnitude: the sign of what is large, and a slope where the sign is in doubt.

    >>> soft_sign(torch.tensor([-3.0, 3.0, 0.0, 6.0])).tolist()[2]
    0.0
    """
    tiny = torch.finfo(value.dtype).tiny ** 0.5
    ratio = value / (value.abs().mean() + tiny)
    soft: Tensor = ratio / square_root(1 + ratio.square())
    return soft


def evidence_of(clean: Tensor, upload: Tensor) -> Evidence:
    """Return what one client says of one tensor.

    clean, upload: of one shape; the evidence holds sums ``[channels, 4]``.
    """
    g, d = clean.double(), upload.double()
    soft, size = soft_sign(g).reshape(1, -1), d.reshape(1, -1)
    return Evidence(
        parts=channel_sums(clean, upload),
        soft=_sums(soft, size, torch.ones_like(size))[0],
        magnitude=g.abs().mean(),
        halves=_halves(g.flatten(), d.flatten()),
        rough=(d - g).abs().mean(),
        unsent=torch.where(d == 0, g.abs(), 0).amax(),
        least=torch.where(d == 0, torch.inf, d.abs()).amin(),
    )


def _halves(g: Tensor, d: Tensor) -> Tensor:
    small = (g.square() < g.square().mean()).to(g)
    share = torch.stack([small, 1 - small])
    return _sums(share * g, share * d, share)


def collected(pairs: Iterable[tuple[Tensors, Tensors]]) -> dict[str, Evidence]:
    """Return what all clients say of every tensor, from pairs (update without the defense, upload).

    The sums of a tensor become ``[clients, channels, 4]``.
    """
    clients = [
        {name: evidence_of(value, upload[name]) for name, value in clean.items()}
        for clean, upload in pairs
    ]
    return {name: _stacked([client[name] for client in clients]) for name in clients[0]}


def _stacked(clients: list[Evidence]) -> Evidence:
    parts = {
        part: torch.stack([client.parts[part] for client in clients]) for part in clients[0].parts
    }
    rest = ("soft", "magnitude", "halves", "rough", "unsent", "least")
    return Evidence(
        parts, **{name: torch.stack([getattr(client, name) for client in clients]) for name in rest}
    )
