"""Any classifier as a victim: a copy of a `torch.nn.Module` that clients can train and attackers can differentiate twice.

The copy computes the same logits as the original, with these differences:

- it takes images in [0, 1] and normalises them itself, with buffers that are part of its state;
- batch norms return new running statistics instead of writing into the old ones, which `vmap` and second derivatives forbid;
- attention is computed by plain matrix products, and hard sigmoids by `clamp`: the usual kernels have no second derivative;
- activations do not overwrite their inputs;
- layers that draw random numbers (dropout, stochastic depth) do so only in a client that was given a generator. An attacker
  cannot know the draws and leaves them out.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.overrides import TorchFunctionMode

from gradsiege.errors import ModelError, in_a_line, nearest
from gradsiege.models.layers import BatchNorm2d, Normalisation
from gradsiege.models.usable import classes_of, refuse_unusable
from gradsiege.ranges import shown

COMPUTED = (
    "It holds a tensor that was computed from its weights: after torch.nn.utils.prune call prune.remove, delete outputs that the network "
    "keeps, and instead of torch.nn.utils.weight_norm or spectral_norm use those of torch.nn.utils.parametrizations"
)
NOT_COPIED = "Take locks, files and generators out of it"


@dataclass(frozen=True, eq=False)
class AdaptedModel:
    """The architecture of an observation whose network the library did not build itself.

    Attributes:
        network: the adapted network; `build` returns copies of it.
        classes: length of the logits.
        image_shape: channels, height and width of an image.
    """

    network: AdaptedNetwork
    classes: int
    image_shape: tuple[int, int, int]

    def build(self) -> AdaptedNetwork:
        """Return the network with its weights, in evaluation mode, without a client's generator."""
        made = copy.deepcopy(self.network)
        made.generator = None
        return made.eval()

    def describe(self) -> dict[str, Any]:
        """Return what tells one architecture from another: the names and shapes of its weights."""
        shapes = {name: list(value.shape) for name, value in self.network.named_parameters()}
        return {"module": self.network.kind, "shapes": shapes, "image_shape": self.image_shape}


class AdaptedNetwork(nn.Module):
    """Normalisation followed by a copy of the user's network, called ``body``.

    Attributes:
        kind: class of the original.
        generator: source of random numbers for random layers in train mode; None skips these layers.
        named_head: name of the linear layer to use as the head, ``body.<name>``; empty if `models.head` must find it.
    """

    def __init__(
        self, body: nn.Module, mean: Sequence[float], std: Sequence[float], named_head: str = ""
    ) -> None:
        super().__init__()
        self.kind = type(body).__name__
        self.generator: torch.Generator | None = None
        self.named_head = named_head
        self.normalisation = Normalisation(len(mean))
        self.normalisation.mean.copy_(torch.tensor(mean))
        self.normalisation.deviation.copy_(torch.tensor(std))
        self.body = body

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``[n, classes]`` of images ``[n, c, h, w]`` in [0, 1]."""
        with plain_attention(), DifferentiableTwice(), self._drawing():
            return logits_of(self.body(self.normalisation(images)))

    def train(self, mode: bool = True) -> AdaptedNetwork:
        """Set the mode of batch norms; random layers follow only if there is a generator."""
        super().train(mode)
        if self.generator is None:
            for part in self.body.modules():
                part.training = mode and isinstance(part, _NormBase)
        return self

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Let random layers draw from the generator, and leave the global random state as it was."""
        if self.generator is None or not self.training:
            yield
            return
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.generator.get_state())
            yield
            self.generator.set_state(torch.get_rng_state())


class PureBatchNorm(_BatchNorm):
    """Batch normalisation over any number of dimensions that never writes into its running statistics."""

    def _check_input_dim(self, x: Tensor) -> None:
        """Every ``[n, c, ...]`` is accepted."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``[n, c, ...]`` by batch statistics (train, or without running ones) or running statistics (eval)."""
        shape = (-1, *[1] * (x.dim() - 2))
        if self.training or self.running_mean is None or self.running_var is None:
            over = [0, *range(2, x.dim())]
            mean = x.mean(over)
            variance = (x - mean.view(shape)).square().mean(over)
        else:
            mean, variance = self.running_mean, self.running_var
        normalised = (x - mean.view(shape)) * torch.rsqrt(variance + self.eps).view(shape)
        if self.weight is None:
            return normalised
        return normalised * self.weight.view(shape) + self.bias.view(shape)


class DifferentiableTwice(TorchFunctionMode):
    """Replaces functions that have no second derivative in PyTorch by equal ones that have one."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Compute hard sigmoids (Howard et al., MobileNetV3, ICCV 2019) by `clamp`; call every other function unchanged."""
        if func is F.hardsigmoid:
            return (args[0] / 6 + 0.5).clamp(0, 1)
        return func(*args, **(kwargs or {}))


@contextmanager
def plain_attention() -> Iterator[None]:
    """Compute attention by matrix products and a softmax, which can be differentiated twice."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def logits_of(output: Any) -> Tensor:
    """Return the logits from a network's output: the output itself, or its ``.logits``.

    >>> logits_of(torch.zeros(2, 3)).shape
    torch.Size([2, 3])

    Raises:
        ModelError: the network returned something else.
    """
    logits = getattr(output, "logits", output)
    if isinstance(logits, Tensor) and (
        logits.is_nested or logits.is_complex() or logits.layout != torch.strided
    ):
        kind = "nested" if logits.is_nested else f"{logits.dtype} as {logits.layout}"
        raise ModelError(
            f"the network returns a tensor of {kind}, but logits are dense and real: let its forward end in such a tensor"
        )
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(
            f"the network returns {shape}, but a classifier returns logits [images, classes], or an object with such "
            "`.logits`: wrap it in a module whose forward returns its logits alone"
        )
    return logits


def adapt(
    network: nn.Module,
    image_shape: tuple[int, int, int],
    normalisation: tuple[Sequence[float], Sequence[float]] | None = None,
    head: str | None = None,
) -> AdaptedModel:
    """Return a classifier as the architecture of an observation, on the CPU; the network itself is left as it is.

    Args:
        network: maps images ``[n, c, h, w]`` to logits ``[n, classes]``, or to an object with such ``.logits``.
        image_shape: channels, height and width of an image.
        normalisation: mean and standard deviation of every channel, if `network` expects normalised images. Without it the
            network is given images in [0, 1] as they are.
        head: name of the last linear layer, needed only if the logits are not exactly its outputs.

    Raises:
        ModelError: the network does not take such images, does not return logits, or is neither of float32 nor of float64; or
            PyTorch's default type is not float32.
    """
    if torch.get_default_dtype() != torch.float32:
        raise ModelError(
            f"PyTorch's default type is {torch.get_default_dtype()}, and clients and attacks make their own tensors in float32: "
            "call torch.set_default_dtype(torch.float32); a float64 network can stay as it is"
        )
    if not isinstance(network, nn.Module):
        kind = "a class: give a network, such as its instance" if isinstance(network, type) else ""
        raise ModelError(
            f"model is {kind or type(network).__name__ + ': give a torch.nn.Module, with its weights'}"
        )
    channels = _channels(image_shape)
    mean, std = _scales(normalisation, channels)
    if len(mean) != channels or len(std) != channels:
        raise ModelError(
            f"normalisation has {len(mean)} means and {len(std)} standard deviations for images of {channels} channels"
        )
    if not all(map(math.isfinite, (*mean, *std))):
        raise ModelError(f"normalisation holds a number that is not finite: {shown((mean, std))}")
    if min(std) <= 0:
        raise ModelError(f"normalisation: a standard deviation is {min(std)}; it must be positive")
    refuse_unusable(network)
    if head is not None and not isinstance(dict(network.named_modules()).get(head), nn.Linear):
        linear = [name for name, part in network.named_modules() if isinstance(part, nn.Linear)]
        raise ModelError(
            f"head {head!r} is not a torch.nn.Linear of the network; {nearest(str(head), linear)}"
        )
    body = _copy(network)
    _give_layers_one_name(body)
    for part in body.modules():
        _make_pure(part)
    adapted = AdaptedNetwork(body, mean, std, f"body.{head}" if head else "").eval()
    return AdaptedModel(adapted, classes_of(adapted, adapted.kind, image_shape), image_shape)


def _channels(image_shape: Any) -> int:
    """Return the channels of a shape; refuse anything but three whole numbers."""
    sides = image_shape if isinstance(image_shape, tuple | list) else ()
    if len(sides) != 3 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ModelError(
            f"image_shape is {image_shape!r}; give three whole numbers, (channels, height, width) of one image"
        )
    return int(sides[0])


def _scales(normalisation: Any, channels: int) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of every channel."""
    if normalisation is None:
        return [0.0] * channels, [1.0] * channels
    try:
        mean, std = ([float(value) for value in part] for part in normalisation)
    except (TypeError, ValueError):
        raise ModelError(
            f"normalisation is {normalisation!r}; give two lists of a number per channel, (means, standard deviations)"
        ) from None
    return mean, std


def _copy(network: nn.Module) -> nn.Module:
    try:
        copied = copy.deepcopy(network)
    except Exception as error:
        remedy = COMPUTED if isinstance(error, RuntimeError) else NOT_COPIED
        raise ModelError(
            f"{type(network).__name__} cannot be copied: {in_a_line(error)}. {remedy}"
        ) from error
    if not isinstance(copied, nn.Module):
        raise ModelError(
            f"{type(network).__name__} cannot be copied: its copy is {type(copied).__name__}. Leave out its `__deepcopy__`"
        )
    return copied.cpu()


def _give_layers_one_name(network: nn.Module) -> None:
    """Let a layer that is registered under several names become several layers with the same weights.

    `torch.func.functional_call` leaves such a layer without its parameters, but handles tied weights.
    """
    met: set[int] = set()
    for parent in list(network.modules()):
        for name, part in list(parent._modules.items()):
            if part is None:
                continue
            if id(part) in met:
                parent._modules[name] = _twin(part)
            met.add(id(part))


def _twin(part: nn.Module) -> nn.Module:
    """Return another module of the same weights and buffers, and so on for all modules in it."""
    twin = type(part).__new__(type(part))
    twin.__dict__.update(part.__dict__)
    twin._parameters = dict(part._parameters)
    twin._buffers = dict(part._buffers)
    twin._modules = {
        name: None if inner is None else _twin(inner) for name, inner in part._modules.items()
    }
    return twin


def _make_pure(part: nn.Module) -> None:
    """Keep a layer from writing into its input or its statistics. Its weights do not change."""
    if isinstance(getattr(part, "inplace", None), bool):
        setattr(part, "inplace", False)  # noqa: B010
    if type(part) is nn.BatchNorm2d and part.affine and part.track_running_stats:
        part.__class__ = BatchNorm2d
    elif isinstance(part, _BatchNorm) and not isinstance(part, BatchNorm2d):
        part.__class__ = PureBatchNorm
